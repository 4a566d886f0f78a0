//! Memory of blocks, kept for the next runs. To take it anew, and to write zeros there, took a fifth of one row of a
//! recommender, and a tenth of 100 rows of a perceptron of 24 MB.

use std::sync::Mutex;
use std::thread::{ThreadId, current};

use super::program::{Memory, Program};

/// What is kept of a model with small weights, in bytes for each thread; of others also this part of their weights.
const SMALL: usize = 1 << 17;
const PART: usize = 8;

/// Memory that no run uses.
#[derive(Debug)]
pub(super) struct Spare {
    /// With the thread that used it last.
    kept: Mutex<Vec<(ThreadId, Memory)>>,
    /// How much is kept, at most.
    count: usize,
    rows: usize,
}

impl Spare {
    /// For runs on so many threads at once.
    pub(super) fn new(program: &Program, threads: usize) -> Self {
        let rows = (SMALL + program.weight_bytes() / PART) / program.bytes_per_row().max(1);
        Self { kept: Mutex::default(), count: threads.max(1), rows }
    }

    /// Memory for a block of `rows` rows, or more. There may be numbers of other rows in it.
    pub(super) fn take(&self, program: &Program, rows: usize) -> Memory {
        self.taken(rows).unwrap_or_else(|| Memory::new(program, rows))
    }

    /// The thread's own if there is such, as another's lies in the cache of another CPU: 1,000 rows of a small perceptron on two
    /// threads took 1.2 of the time. Nobody waits for the lock: in the child of a fork, who holds it may not be there.
    fn taken(&self, rows: usize) -> Option<Memory> {
        let mut kept = self.kept.try_lock().ok()?;
        let fits = |(_, memory): &(ThreadId, Memory)| memory.rows() >= rows;
        let thread = current().id();
        let own = kept.iter().position(|kept| kept.0 == thread && fits(kept));
        let fitting = own.or_else(|| kept.iter().position(fits))?;
        Some(kept.swap_remove(fitting).1)
    }

    /// Keeps memory that is not too large, in place of some that is smaller.
    pub(super) fn keep(&self, memory: Memory) {
        if memory.rows() > self.rows {
            return;
        }
        let Ok(mut kept) = self.kept.try_lock() else { return };
        let memory = (current().id(), memory);
        if kept.len() < self.count {
            kept.push(memory);
        } else if let Some(least) = kept.iter_mut().min_by_key(|(_, memory)| memory.rows())
            && least.1.rows() < memory.1.rows()
        {
            *least = memory;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_within_bounds() {
        let program = Program { floats: vec![3, 5], ints: vec![2], ..Program::default() };
        let spare = Spare::new(&program, 2);
        let most = SMALL / program.bytes_per_row();
        let kept = |spare: &Spare| {
            let mut rows: Vec<usize> = spare.kept.lock().unwrap().iter().map(|(_, memory)| memory.rows()).collect();
            rows.sort_unstable();
            rows
        };
        for (rows, expected) in
            [(4, vec![4]), (2, vec![2, 4]), (7, vec![4, 7]), (3, vec![4, 7]), (most + 1, vec![4, 7])]
        {
            spare.keep(Memory::new(&program, rows));
            assert_eq!(kept(&spare), expected);
        }
        let memory = spare.take(&program, 5);
        assert_eq!((memory.rows(), memory.floats[1].len(), kept(&spare)), (7, 35, vec![4]));
        assert_eq!((spare.take(&program, 5).rows(), kept(&spare)), (5, vec![4]));
        spare.keep(Memory::new(&program, most));
        assert_eq!(kept(&spare), [4, most]);
        // Another one is at it.
        let _held = spare.kept.lock().unwrap();
        spare.keep(Memory::new(&program, 9));
        assert_eq!(spare.take(&program, 1).rows(), 1);
    }

    #[test]
    fn threads_have_their_own_again() {
        let program = Program { floats: vec![1], ..Program::default() };
        for first in [6, 8] {
            let spare = Spare::new(&program, 2);
            let others = |rows| {
                std::thread::scope(|scope| scope.spawn(|| spare.keep(Memory::new(&program, rows))).join().unwrap());
            };
            if first == 6 {
                spare.keep(Memory::new(&program, 6));
            }
            others(8);
            if first == 8 {
                spare.keep(Memory::new(&program, 6));
            }
            let taken = [5, 5, 5].map(|rows| spare.take(&program, rows).rows());
            assert_eq!(taken, [6, 8, 5], "another thread's where there is no own one");
        }
    }
}
