//! One tree as the lists have it.

use std::collections::HashMap;

use super::lists::Node;
use super::{Planned, Weighed, Weight};
use crate::trees::Split;

/// Its nodes, the first of which is its root, and their weights.
#[derive(Debug, Default)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    /// Where nodes are by their numbers, unless these count from 0, as converters have it: then nothing is looked up.
    places: HashMap<i64, usize>,
    weights: Vec<Weight>,
    /// Of each weight, where its node is.
    places_of_weights: Vec<usize>,
    /// Of each node, where its weights end.
    ends: Vec<usize>,
}

impl Tree {
    /// Makes room for the next one.
    pub(super) fn clear(&mut self) {
        self.nodes.clear();
        self.places.clear();
        self.weights.clear();
        self.places_of_weights.clear();
        self.ends.clear();
    }

    pub(super) fn push(&mut self, node: Node) {
        self.nodes.push(node);
    }

    /// Makes nodes be found, once all are there.
    pub(super) fn number(&mut self) -> Planned<()> {
        if (0..).zip(&self.nodes).all(|(at, node)| at == node.id) {
            return Ok(());
        }
        self.places.extend(self.nodes.iter().map(|node| node.id).zip(0..));
        let are_all = self.places.len() == self.nodes.len();
        are_all.then_some(()).ok_or_else(|| "two nodes of one number".to_owned())
    }

    fn place(&self, id: i64) -> Option<usize> {
        if self.places.is_empty() {
            return usize::try_from(id).ok().filter(|at| *at < self.nodes.len());
        }
        self.places.get(&id).copied()
    }

    /// Adds a weight, once nodes are found.
    pub(super) fn weigh(&mut self, Weighed { node, weight, .. }: Weighed) -> Planned<()> {
        self.places_of_weights.push(self.place(node).ok_or("a weight for a leaf or output that is not there")?);
        self.weights.push(weight);
        Ok(())
    }

    /// Makes weights be found, once all are there.
    pub(super) fn sort_weights(&mut self) -> Planned<()> {
        let key = |(place, (output, _)): (&usize, &Weight)| (*place, *output);
        if !self.places_of_weights.iter().zip(&self.weights).map(key).is_sorted() {
            let mut all: Vec<(usize, Weight)> =
                self.places_of_weights.iter().copied().zip(self.weights.iter().copied()).collect();
            all.sort_by_key(|(place, (output, _))| (*place, *output));
            (self.places_of_weights, self.weights) = all.into_iter().unzip();
        }
        let keys = || self.places_of_weights.iter().zip(&self.weights).map(key);
        if keys().zip(keys().skip(1)).any(|(one, next)| one == next) {
            return Err("two weights for one output of a leaf".to_owned());
        }
        self.ends.resize(self.nodes.len(), 0);
        self.places_of_weights.iter().for_each(|place| self.ends[*place] += 1);
        let mut end = 0;
        for count in &mut self.ends {
            end += *count;
            *count = end;
        }
        Ok(())
    }

    fn weights_of(&self, place: usize) -> &[Weight] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.weights[start..self.ends[place]]
    }

    /// Its splits from the root down, so that parents come before their children, and the weights of its leaves.
    pub(super) fn read(&self, is_single: bool) -> Planned<(Vec<Split>, Vec<&[Weight]>)> {
        let leaf_count = self.nodes.iter().filter(|node| node.mode.is_none()).count();
        let mut splits: Vec<Split> = Vec::with_capacity(self.nodes.len() - leaf_count);
        let mut leaves: Vec<&[Weight]> = Vec::with_capacity(leaf_count);
        // Those whose children are not read yet are as many as the tree is deep.
        let mut open: Vec<(usize, Option<(usize, usize)>)> = vec![(0, None)];
        let mut seen = 0;
        while let Some((at, parent)) = open.pop() {
            seen += 1;
            if seen > self.nodes.len() {
                return Err("nodes in a circle".to_owned());
            }
            let node = &self.nodes[at];
            let weights = self.weights_of(at);
            let child = match node.mode {
                None if weights.is_empty() => return Err("a leaf without a weight".to_owned()),
                None => {
                    leaves.push(weights);
                    i32::try_from(leaves.len()).map(|count| -count)
                }
                Some(_) if !weights.is_empty() => return Err("a weight in a node that is no leaf".to_owned()),
                Some(mode) => {
                    let index = splits.len();
                    let (split, swapped) = mode.split(node.feature, (node.value, is_single), node.tracks_true)?;
                    splits.push(split);
                    for side in [1, 0] {
                        let child = self.place(node.children[side]).ok_or("a child that is not there")?;
                        open.push((child, Some((index, side ^ usize::from(swapped)))));
                    }
                    i32::try_from(index)
                }
            };
            if let Some((parent, side)) = parent {
                splits[parent].children[side] = child.map_err(|_| "too many nodes")?;
            }
        }
        if seen != self.nodes.len() {
            return Err("nodes that no root leads to".to_owned());
        }
        Ok((splits, leaves))
    }
}
