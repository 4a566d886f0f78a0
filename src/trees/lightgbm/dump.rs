//! `LightGBM`'s JSON: what `Booster.dump_model` gives, written with `json.dump`. Keys are those of `Tree::ToJSON`.
//!
//! Trees are objects within objects, as deep as they grew; they are read without recursion.

use jiter::{Jiter, JiterError, Peek};

use super::{Head, Tree, bad, rule};
use crate::error::Result;
use crate::trees::document::natural;
use crate::trees::sets::Sets;
use crate::trees::{Builder, Contributions, LinearLeaf, Split, TreeModel};

/// Leaves that `LightGBM` lets a tree have, so that no tree is deeper.
const DEEPEST: usize = 1 << 17;
/// What `AvoidInf` makes of infinity.
const INFINITY: f64 = 1e300;

/// Reads a model.
pub fn read_lightgbm_dump(bytes: &[u8], subject: &str) -> Result<TreeModel> {
    read(bytes, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_lightgbm_dump(bytes: &[u8], subject: &str) -> Result<Contributions> {
    read(bytes, subject, true)?.trees.finish_explained()
}

fn read(bytes: &[u8], subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let jiter = Jiter::new(bytes).with_allow_inf_nan();
    let (head, trees) =
        Reader { jiter, sets: Sets::new(bytes.len()) }.model().map_err(|problem| bad(subject, &problem))?;
    let mut builder = head.builder(explains, subject)?;
    for nodes in trees {
        let tree = nodes.tree().map_err(|problem| bad(subject, &problem))?;
        tree.push(head.trees_per_iteration, &mut builder)?;
    }
    head.model(builder, subject)
}

type Read<T> = std::result::Result<T, String>;

struct Reader<'j> {
    jiter: Jiter<'j>,
    sets: Sets,
}

/// A node on its way. It is a split, or a leaf; which one, its last key may say.
#[derive(Debug, Default)]
struct Node {
    /// Which child of the node round it.
    side: usize,
    split: Option<u32>,
    feature: u32,
    threshold: Option<Threshold>,
    is_set: bool,
    goes_left: bool,
    /// As bits of `decision_type`.
    missing: u8,
    children: [Option<i32>; 2],
    leaf: Option<u32>,
    value: Option<f64>,
    cover: f64,
    function: Option<LinearLeaf>,
    columns: Vec<u32>,
    factors: Vec<f64>,
}

#[derive(Debug)]
enum Threshold {
    Number(f64),
    /// Categories.
    Text(String),
}

/// The nodes of a tree, each with its number there.
#[derive(Debug, Default)]
struct Nodes {
    splits: Vec<(u32, Split, f64)>,
    leaves: Vec<(u32, f64, Option<LinearLeaf>, f64)>,
    sets: Vec<Vec<u32>>,
}

impl Nodes {
    /// The tree as the text has it: in the order of the numbers, of which each is there once.
    fn tree(self) -> Read<Tree> {
        let Self { mut splits, mut leaves, sets } = self;
        splits.sort_by_key(|(number, ..)| *number);
        leaves.sort_by_key(|(number, ..)| *number);
        let are_numbered = splits.iter().zip(0..).all(|((number, ..), at)| *number == at);
        if !are_numbered || leaves.iter().zip(0..).any(|((number, ..), at)| *number != at) {
            return Err("a tree has a `split_index` or `leaf_index` twice, or not at all".to_owned());
        }
        let functions: Vec<LinearLeaf> = leaves.iter_mut().filter_map(|(_, _, function, _)| function.take()).collect();
        let covers =
            [splits.iter().map(|(.., cover)| *cover).collect(), leaves.iter().map(|(.., cover)| *cover).collect()];
        let leaves = leaves.into_iter().map(|(_, value, ..)| value).collect();
        Ok(Tree { splits: splits.into_iter().map(|(_, split, _)| split).collect(), leaves, sets, functions, covers })
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is handed on to `map_err`")]
fn wrong(error: JiterError) -> String {
    error.to_string()
}

impl Reader<'_> {
    fn model(mut self) -> Read<(Head, Vec<Nodes>)> {
        let (mut head, mut trees) = (Head::default(), None);
        let (mut last, mut outputs) = (None, None);
        let mut key = self.jiter.next_object().map_err(wrong)?.map(str::to_owned);
        while let Some(name) = key {
            match name.as_str() {
                "max_feature_idx" => last = Some(self.count("max_feature_idx")?),
                "num_tree_per_iteration" => outputs = Some(self.count("num_tree_per_iteration")?),
                // Of an objective of the caller there is none.
                "objective" => head.objective = self.text()?,
                "average_output" => head.averages = self.truth()?,
                "feature_names" => {
                    let mut names = Vec::new();
                    self.list(|reader, _| {
                        names.push(reader.jiter.known_str().map_err(wrong)?.to_owned());
                        Ok(())
                    })?;
                    head.names = Some(names);
                }
                "tree_info" => {
                    let mut all = Vec::new();
                    self.list(|reader, _| {
                        all.push(reader.tree()?);
                        Ok(())
                    })?;
                    trees = Some(all);
                }
                _ => self.jiter.next_skip().map_err(wrong)?,
            }
            key = self.jiter.next_key().map_err(wrong)?.map(str::to_owned);
        }
        self.jiter.finish().map_err(wrong)?;
        let missing = |name: &str| format!("`{name}` is missing");
        head.last_feature = last.ok_or_else(|| missing("max_feature_idx"))?;
        head.trees_per_iteration = outputs.ok_or_else(|| missing("num_tree_per_iteration"))? as usize;
        Ok((head, trees.ok_or_else(|| missing("tree_info"))?))
    }

    fn tree(&mut self) -> Read<Nodes> {
        let (mut declared, mut nodes) = (None, None);
        let mut key = self.jiter.known_object().map_err(wrong)?.map(str::to_owned);
        while let Some(name) = key {
            match name.as_str() {
                "num_leaves" => declared = Some(self.count("num_leaves")?),
                "tree_structure" => nodes = Some(self.nodes()?),
                _ => self.jiter.next_skip().map_err(wrong)?,
            }
            key = self.jiter.next_key().map_err(wrong)?.map(str::to_owned);
        }
        let nodes = nodes.ok_or("a tree has no `tree_structure`")?;
        match declared {
            Some(declared) if declared as usize != nodes.leaves.len() => {
                Err(format!("`num_leaves` is {declared}, but `tree_structure` has {} leaves", nodes.leaves.len()))
            }
            _ => Ok(nodes),
        }
    }

    fn nodes(&mut self) -> Read<Nodes> {
        let mut nodes = Nodes::default();
        let mut open = vec![Node::default()];
        let mut key = self.jiter.next_object().map_err(wrong)?.map(str::to_owned);
        while let Some(node) = open.last_mut() {
            let Some(name) = key else {
                let Some(node) = open.pop() else { break };
                let side = node.side;
                let child = self.finish(node, &mut nodes)?;
                match open.last_mut() {
                    Some(parent) => parent.children[side] = Some(child),
                    None => break,
                }
                key = self.jiter.next_key().map_err(wrong)?.map(str::to_owned);
                continue;
            };
            if let Some(side) = ["left_child", "right_child"].iter().position(|child| *child == name) {
                if open.len() >= DEEPEST {
                    return Err(format!("a tree is deeper than {DEEPEST}"));
                }
                open.push(Node { side, ..Node::default() });
                key = self.jiter.next_object().map_err(wrong)?.map(str::to_owned);
                continue;
            }
            self.property(&name, node)?;
            key = self.jiter.next_key().map_err(wrong)?.map(str::to_owned);
        }
        Ok(nodes)
    }

    fn property(&mut self, name: &str, node: &mut Node) -> Read<()> {
        match name {
            "split_index" => node.split = Some(self.count(name)?),
            "split_feature" => node.feature = self.count(name)?,
            "threshold" => {
                node.threshold = Some(match self.jiter.peek().map_err(wrong)? {
                    Peek::String => Threshold::Text(self.text()?),
                    _ => Threshold::Number(self.number()?),
                });
            }
            "decision_type" => {
                node.is_set = match self.text()?.as_str() {
                    "<=" => false,
                    "==" => true,
                    other => return Err(format!("`decision_type` has {other:?}")),
                }
            }
            "default_left" => node.goes_left = self.truth()?,
            "missing_type" => {
                node.missing = match self.text()?.as_str() {
                    "None" => 0,
                    "Zero" => 1,
                    "NaN" => 2,
                    other => return Err(format!("`missing_type` has {other:?}")),
                }
            }
            "leaf_index" => node.leaf = Some(self.count(name)?),
            "leaf_value" => node.value = Some(self.number()?),
            "internal_count" | "leaf_count" => node.cover = self.number()?,
            "leaf_const" => node.function.get_or_insert_default().constant = self.number()?,
            "leaf_features" => {
                self.list(|reader, peek| {
                    let column = reader.jiter.known_float(peek).map_err(wrong)?;
                    node.columns.push(natural(column).ok_or_else(|| format!("`leaf_features` has {column}"))?);
                    Ok(())
                })?;
            }
            "leaf_coeff" => {
                self.list(|reader, peek| {
                    node.factors.push(reader.jiter.known_float(peek).map_err(wrong)?);
                    Ok(())
                })?;
            }
            _ => self.jiter.next_skip().map_err(wrong)?,
        }
        Ok(())
    }

    /// Keeps a node whose keys have all been read; says by which number its parent knows it.
    fn finish(&mut self, node: Node, nodes: &mut Nodes) -> Read<i32> {
        let index = |number: u32| i32::try_from(number).map_err(|_| format!("a tree has the node {number}"));
        let Some(number) = node.split else {
            let value = node.value.ok_or("a tree has a node without `split_index` and `leaf_value`")?;
            // A leaf that is a whole tree has no number.
            let number = node.leaf.unwrap_or(0);
            let function = match node.function {
                Some(_) if node.columns.len() != node.factors.len() => {
                    let (columns, factors) = (node.columns.len(), node.factors.len());
                    return Err(format!("leaf {number} has {columns} columns and {factors} coefficients"));
                }
                Some(function) => {
                    Some(LinearLeaf { terms: node.columns.into_iter().zip(node.factors).collect(), ..function })
                }
                None => None,
            };
            nodes.leaves.push((number, value, function, node.cover));
            return index(number).map(|number| !number);
        };
        let threshold = match node.threshold.ok_or("a split has no `threshold`")? {
            Threshold::Text(text) if node.is_set => {
                let member = |text: &str| text.parse().map_err(|_| format!("`threshold` has the category {text:?}"));
                nodes.sets.push(self.sets.of(text.split("||").map(member))?);
                0.0
            }
            // There, infinity is written as this, since JSON has none: numbers that are not missing go left.
            Threshold::Number(threshold) if !node.is_set && threshold >= INFINITY => f64::INFINITY,
            Threshold::Number(threshold) if !node.is_set => threshold,
            other => return Err(format!("`threshold` is {other:?}, which does not fit `decision_type`")),
        };
        let [Some(left), Some(right)] = node.children else {
            return Err(format!("split {number} has not two children"));
        };
        let decision = u8::from(node.is_set) | u8::from(node.goes_left) << 1 | node.missing << 2;
        let set = || u32::try_from(nodes.sets.len() - 1).map_err(|_| "a tree has too many nodes".to_owned());
        let rule = rule(decision, set)?;
        let split = Split { feature: node.feature, threshold, rule, children: [left, right] };
        nodes.splits.push((number, split, node.cover));
        index(number)
    }

    fn list(&mut self, mut each: impl FnMut(&mut Self, Peek) -> Read<()>) -> Read<()> {
        let mut next = self.jiter.next_array().map_err(wrong)?;
        while let Some(peek) = next {
            each(self, peek)?;
            next = self.jiter.array_step().map_err(wrong)?;
        }
        Ok(())
    }

    fn number(&mut self) -> Read<f64> {
        self.jiter.next_float().map_err(wrong)
    }

    fn count(&mut self, name: &str) -> Read<u32> {
        let number = self.number()?;
        natural(number).ok_or_else(|| format!("`{name}` is {number}, expected a whole number"))
    }

    fn text(&mut self) -> Read<String> {
        self.jiter.next_str().map(str::to_owned).map_err(wrong)
    }

    fn truth(&mut self) -> Read<bool> {
        self.jiter.next_bool().map_err(wrong)
    }
}
