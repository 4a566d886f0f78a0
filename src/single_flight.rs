//! One loader per key: whoever asks for a key that is being loaded waits for that load and shares its result.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Loads under way, by key. Finished ones are forgotten, failures with them.
#[derive(Debug)]
pub struct SingleFlight<K, V> {
    flights: Mutex<HashMap<K, Arc<Flight<V>>>>,
}

#[derive(Debug)]
struct Flight<V> {
    landed: Mutex<Landing<V>>,
    changed: Condvar,
}

#[derive(Debug, Clone)]
enum Landing<V> {
    Pending,
    Landed(V),
    /// The loader panicked; waiters try again themselves.
    Lost,
}

impl<K, V> Default for SingleFlight<K, V> {
    fn default() -> Self {
        Self { flights: Mutex::new(HashMap::new()) }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> SingleFlight<K, V> {
    /// Runs `load` for `key`, or waits for the call that is already running it.
    pub fn run(&self, key: &K, load: impl FnOnce() -> V) -> V {
        loop {
            let (flight, is_mine) = self.join(key);
            if is_mine {
                let mut guard = Takeoff { all: self, key, flight: &flight, landing: Landing::Lost };
                let value = load();
                guard.landing = Landing::Landed(value.clone());
                return value;
            }
            let mut landed = lock(&flight.landed);
            while matches!(*landed, Landing::Pending) {
                landed = flight.changed.wait(landed).unwrap_or_else(PoisonError::into_inner);
            }
            if let Landing::Landed(value) = &*landed {
                return value.clone();
            }
        }
    }

    fn join(&self, key: &K) -> (Arc<Flight<V>>, bool) {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(key) {
            return (Arc::clone(flight), false);
        }
        let flight = Arc::new(Flight { landed: Mutex::new(Landing::Pending), changed: Condvar::new() });
        flights.insert(key.clone(), Arc::clone(&flight));
        (flight, true)
    }
}

/// Lands the flight however the loader ends, also by a panic.
struct Takeoff<'a, K: Hash + Eq, V> {
    all: &'a SingleFlight<K, V>,
    key: &'a K,
    flight: &'a Flight<V>,
    landing: Landing<V>,
}

impl<K: Hash + Eq, V> Drop for Takeoff<'_, K, V> {
    fn drop(&mut self) {
        lock(&self.all.flights).remove(self.key);
        *lock(&self.flight.landed) = std::mem::replace(&mut self.landing, Landing::Lost);
        self.flight.changed.notify_all();
    }
}

/// Locks even if another holder panicked: every critical section here leaves its data whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Duration;

    #[test]
    fn concurrent_callers_share_one_load() {
        let (flights, loads, barrier) = (SingleFlight::default(), AtomicUsize::new(0), Barrier::new(16));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    barrier.wait();
                    let got = flights.run(&"model", || {
                        std::thread::sleep(Duration::from_millis(100));
                        loads.fetch_add(1, SeqCst)
                    });
                    assert_eq!(got, 0);
                });
            }
        });
        assert_eq!(loads.load(SeqCst), 1);
        assert_eq!(flights.run(&"model", || 7), 7, "a finished load is forgotten");
    }

    #[test]
    fn different_keys_load_side_by_side() {
        let (flights, barrier) = (SingleFlight::default(), Barrier::new(2));
        std::thread::scope(|scope| {
            for key in 0..2 {
                // Both loaders meet inside their load: one after the other would wait for ever.
                scope.spawn({
                    let (flights, barrier) = (&flights, &barrier);
                    move || flights.run(&key, || barrier.wait().is_leader())
                });
            }
        });
    }

    #[test]
    fn a_panicking_load_does_not_strand_its_waiters() {
        let (flights, entered) = (SingleFlight::default(), Barrier::new(2));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| {
                flights.run(&1, || -> u32 {
                    entered.wait();
                    std::thread::sleep(Duration::from_millis(50));
                    panic!("loader failed")
                })
            });
            entered.wait();
            assert_eq!(flights.run(&1, || 5), 5);
            assert!(first.join().is_err());
        });
    }
}
