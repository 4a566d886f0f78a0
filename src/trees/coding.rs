//! Numbers of a tree's leaves as bits, each of which is chosen by the nodes above: a tree becomes a list of choices, without
//! regard to where a row stands.
//!
//! A node's bit says on which side of it a row is, and each bit of the numbers within a side is chosen by it from those of
//! both sides. Where a tree is no higher than there are bits, that is one choice for each node but the first of each level.
//! Higher trees are cut between two leaves first, so that both halves are about as large: who is beyond the cut is chosen
//! by the nodes on the way there. Trees of 31 leaves that grew leaf by leaf take 40 choices, and those of 255 take 540; with
//! numbers from left to right they took twice and one and a half times as many.

use super::blocks::Step;

/// Bits of a number.
pub(super) const BITS: usize = 8;
/// Places of bits that are the same for all rows.
pub(super) const ZEROS: u16 = 0;
pub(super) const ONES: u16 = 1;
/// From here on places are of what the choices of a tree find, one after the other.
pub(super) const FOUND: u16 = 1 << 15;
/// What no row of a subtree needs.
const ANY: u16 = u16::MAX;
/// Bits that numbers of small trees may have: a table of so many is in one register of AVX-512.
const FEW_BITS: usize = 6;

/// For each row one of two bits, by a third.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    /// The places of the bits: that by which it is chosen, that of those who are beyond, that of the others, and where it goes.
    pub(super) places: [u16; 4],
}

/// A tree as choices.
#[derive(Debug, Default)]
pub(super) struct Coded {
    pub(super) choices: Vec<Choice>,
    /// Where the bits of numbers are found, the lowest first.
    pub(super) planes: [u16; BITS],
    /// Of each number of so many bits the leaf from left to right.
    pub(super) leaves: Vec<u8>,
}

/// A node, or a leaf by its number from left to right.
#[derive(Debug, Clone, Copy)]
enum Child {
    Leaf,
    Node(usize),
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// The place of who is beyond.
    by: u16,
    children: [Child; 2],
    leaves: usize,
    height: usize,
}

/// A tree while it is coded.
struct Coding {
    nodes: Vec<Node>,
    choices: Vec<Choice>,
    /// Of each leaf its number, and which bits of it count.
    numbers: Vec<(u8, u8)>,
}

/// The tree of these steps; `by` says where is who is beyond each of them. Nothing if they are no tree of up to 256 leaves.
pub(super) fn code(steps: &[Step], by: &[u16]) -> Option<Coded> {
    let leaves = steps.len() + 1;
    if leaves > 1 << BITS || by.len() != steps.len() {
        return None;
    }
    let mut coding = Coding { nodes: Vec::new(), choices: Vec::new(), numbers: vec![(0, 0); leaves] };
    let mut rest = steps.iter().zip(by);
    let root = coding.read(&mut rest, 0, leaves)?;
    let least = leaves.next_power_of_two().ilog2() as usize;
    let bits = coding.height(root).min((least + 1).clamp(FEW_BITS, BITS));
    let mut planes = [ANY; BITS];
    coding.encode(root, 0, bits, &mut planes)?;
    // What no row has stays 0.
    let mut numbers = vec![0; 1 << bits];
    let all = numbers.len() - 1;
    for (leaf, (value, counts)) in coding.numbers.iter().enumerate() {
        let (value, others) = (usize::from(*value), all & !usize::from(*counts));
        // All numbers that have some of the other bits.
        let mut more = others;
        loop {
            numbers[value | more] = u8::try_from(leaf).ok()?;
            if more == 0 {
                break;
            }
            more = (more - 1) & others;
        }
    }
    let mut planes = planes.map(|plane| if plane == ANY { ZEROS } else { plane });
    let choices = in_turn(&coding.choices, &mut planes);
    Some(Coded { choices, planes, leaves: numbers })
}

/// The same choices, first those that need no other, then those that need these, and so on: one that needs that before it waits
/// for memory. What is not needed any more makes room for what comes next.
fn in_turn(choices: &[Choice], planes: &mut [u16; BITS]) -> Vec<Choice> {
    let found = |place: u16| place.checked_sub(FOUND).map(usize::from);
    let (mut turns, mut order) = (Vec::<usize>::with_capacity(choices.len()), Vec::with_capacity(choices.len()));
    for (number, choice) in choices.iter().enumerate() {
        let needed = choice.places[..3].iter().filter_map(|place| found(*place));
        turns.push(needed.map(|number| turns[number] + 1).max().unwrap_or_default());
        order.push(number);
    }
    order.sort_by_key(|number| turns[*number]);
    // When each is needed for the last time.
    let mut ends = vec![0; choices.len()];
    for (at, number) in order.iter().enumerate() {
        choices[*number].places[..3].iter().filter_map(|place| found(*place)).for_each(|needed| ends[needed] = at);
    }
    planes.iter().filter_map(|plane| found(*plane)).for_each(|needed| ends[needed] = usize::MAX);
    let (mut places, mut free, mut next, mut made) = (vec![0; choices.len()], Vec::new(), FOUND, Vec::new());
    for (at, number) in order.into_iter().enumerate() {
        let [by, beyond, otherwise, _] = choices[number].places;
        let mut needed = [by, beyond, otherwise].map(|place| (found(place), place));
        for (from, place) in &mut needed {
            if let Some(from) = *from {
                *place = places[from];
                if ends[from] == at && !free.contains(place) {
                    free.push(*place);
                }
            }
        }
        let to = free.pop().unwrap_or_else(|| {
            next += 1;
            next - 1
        });
        places[number] = to;
        made.push(Choice { places: [needed[0].1, needed[1].1, needed[2].1, to] });
    }
    for plane in planes.iter_mut() {
        if let Some(number) = found(*plane) {
            *plane = places[number];
        }
    }
    made
}

impl Coding {
    /// The subtree of the leaves from `first` to `end`, whose steps come next.
    fn read<'a>(
        &mut self,
        steps: &mut impl Iterator<Item = (&'a Step, &'a u16)>,
        first: usize,
        end: usize,
    ) -> Option<Child> {
        if end == first + 1 {
            return Some(Child::Leaf);
        }
        let (step, by) = steps.next()?;
        let mid = usize::from(step.mid);
        if usize::from(step.low) != first || mid <= first || mid >= end {
            return None;
        }
        let children = [self.read(steps, first, mid)?, self.read(steps, mid, end)?];
        Some(self.node(*by, children))
    }

    fn node(&mut self, by: u16, children: [Child; 2]) -> Child {
        let leaves = self.leaves(children[0]) + self.leaves(children[1]);
        let height = 1 + self.height(children[0]).max(self.height(children[1]));
        self.nodes.push(Node { by, children, leaves, height });
        Child::Node(self.nodes.len() - 1)
    }

    fn leaves(&self, child: Child) -> usize {
        if let Child::Node(node) = child { self.nodes[node].leaves } else { 1 }
    }

    fn height(&self, child: Child) -> usize {
        if let Child::Node(node) = child { self.nodes[node].height } else { 0 }
    }

    fn choose(&mut self, by: u16, beyond: u16, otherwise: u16) -> Option<u16> {
        let place = u16::try_from(usize::from(FOUND) + self.choices.len()).ok().filter(|place| *place < ANY)?;
        self.choices.push(Choice { places: [by, beyond, otherwise, place] });
        Some(place)
    }

    /// Gives the leaves of a subtree, of which `first` is the first, numbers of so many bits.
    fn encode(&mut self, child: Child, first: usize, bits: usize, planes: &mut [u16; BITS]) -> Option<()> {
        let Child::Node(node) = child else { return Some(()) };
        let (all, bit) = (self.nodes[node].leaves, bits.checked_sub(1)?);
        let cut = if self.nodes[node].height <= bits {
            self.leaves(self.nodes[node].children[0])
        } else {
            self.best_cut(node, 1 << bit)?
        };
        let (left, right, top) = self.cut(node, cut)?;
        for (at, (number, counts)) in self.numbers[first..first + all].iter_mut().enumerate() {
            *counts |= 1 << bit;
            *number |= u8::from(at >= cut) << bit;
        }
        let mut others = [ANY; BITS];
        self.encode(left, first, bit, planes)?;
        self.encode(right, first + cut, bit, &mut others)?;
        for (plane, beyond) in planes.iter_mut().zip(others).take(bit) {
            if *plane == ANY {
                *plane = beyond;
            } else if beyond != ANY {
                *plane = self.choose(top, beyond, *plane)?;
            }
        }
        planes[bit] = top;
        Some(())
    }

    /// Before which leaf to cut a subtree: near its root and its middle, and with no more than `most` leaves on a side.
    fn best_cut(&self, node: usize, most: usize) -> Option<usize> {
        let (all, mut best, mut at) = (self.nodes[node].leaves, None, 0_usize);
        // Cuts from left to right, each at the node that has the leaves before and behind it on different sides.
        let mut path = vec![(Child::Node(node), 0, false)];
        while let Some((child, depth, is_cut)) = path.pop() {
            let Child::Node(node) = child else { continue };
            if !is_cut {
                let [left, right] = self.nodes[node].children;
                path.extend([(right, depth + 1, false), (child, depth, true), (left, depth + 1, false)]);
                continue;
            }
            at += 1;
            let cost = 2 * depth + (2 * at).abs_diff(all);
            if at <= most && all - at <= most && best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, at));
            }
        }
        best.map(|(_, at)| at)
    }

    /// The subtrees before and behind a cut, and where is who is beyond it.
    fn cut(&mut self, node: usize, cut: usize) -> Option<(Child, Child, u16)> {
        let Node { by, children: [left, right], .. } = self.nodes[node];
        let before = self.leaves(left);
        match (left, right) {
            _ if cut == before => Some((left, right, by)),
            (Child::Node(below), _) if cut < before => {
                let (left, rest, beyond) = self.cut(below, cut)?;
                Some((left, self.node(by, [rest, right]), self.choose(by, ONES, beyond)?))
            }
            (_, Child::Node(below)) => {
                let (rest, right, beyond) = self.cut(below, cut - before)?;
                Some((self.node(by, [left, rest]), right, self.choose(by, beyond, ZEROS)?))
            }
            _ => None,
        }
    }
}
