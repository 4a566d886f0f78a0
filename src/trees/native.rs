//! Reads glowplug's own files of trees, which `glowplug.convert` writes: see decision 18.
//!
//! A mark and a version, a JSON object that says what is in the file, and then one list after the other, little-endian, each
//! from a multiple of 8 bytes on. A tree's nodes are in the order in which a walk to the left first meets them, so that no
//! node has to say where its children are, and none can be its own.

mod head;
mod lists;

use super::document::{self, DEEPEST, Value, Wanted};
use super::lightgbm::read_text as read_lightgbm_text;
use super::{Builder, Contributions, Covers, TreeModel};
use crate::error::{Error, ErrorKind, Result};
use head::Head;
use lists::Lists;

/// What files begin with.
const MARK: &[u8] = b"GLOWTREE";
/// The only version there is.
const VERSION: u32 = 1;
/// Bytes before the JSON: the mark, the version, and its length.
const START: usize = 16;

type Read<T> = std::result::Result<T, String>;

/// Reads a model.
pub fn read_native(bytes: &[u8], subject: &str) -> Result<TreeModel> {
    read(bytes, subject, false)?.finish()
}

/// Reads what explains a model's scores.
pub fn explain_native(bytes: &[u8], subject: &str) -> Result<Contributions> {
    read(bytes, subject, true)?.trees.finish_explained()
}

fn bad(subject: &str, problem: &str) -> Error {
    let fix = "the file is truncated or corrupt; convert the model again with `glowplug.convert`";
    Error::new(ErrorKind::Model, subject, format!("not a valid model of glowplug: {problem}"), fix)
}

fn read(bytes: &[u8], subject: &str, explains: bool) -> Result<TreeModel<Builder>> {
    let version = bytes.get(MARK.len()..12).and_then(|version| version.first_chunk()).copied().map(u32::from_le_bytes);
    if let Some(version) = version.filter(|version| *version != VERSION) {
        let problem = format!("has version {version} of glowplug's own format, expected {VERSION}");
        let fix = "load it with the version of glowplug that converted it, or convert the model again";
        return Err(Error::new(ErrorKind::Unsupported, subject, problem, fix));
    }
    let wrong = |problem: String| bad(subject, &problem);
    let (head, lists) = head(bytes).map_err(wrong)?;
    let head = Head { head: &head };
    match head.text("body").map_err(wrong)? {
        "trees" => {}
        "lightgbm" => return head.wrapped(read_lightgbm_text(lists, subject, explains)?).map_err(wrong),
        other => {
            let problem = format!("has a body of the kind {other:?}, which is not known");
            let fix = "load it with the version of glowplug that converted it";
            return Err(Error::new(ErrorKind::Unsupported, subject, problem, fix));
        }
    }
    let shape = head.shape().map_err(wrong)?;
    let (link, answer) = (head.link().map_err(wrong)?, head.answer(shape.outputs).map_err(wrong)?);
    let mut builder = Builder::new(subject, shape.features, shape.outputs, link);
    head.prepare(&shape, &mut builder).map_err(wrong)?;
    if explains {
        if shape.covers.is_none() {
            let problem = "has no `contributions`: how much of the training came to each node is not in the file";
            return Err(Error::new(ErrorKind::Unsupported, subject, problem, "convert the model again"));
        }
        builder.explain();
    }
    let mut lists = Lists::of(lists, &shape).map_err(wrong)?;
    // No more than the lists have.
    builder.reserve(shape.nodes);
    for tree in 0..shape.trees {
        let nodes = lists.tree(&shape).map_err(|problem| bad(subject, &format!("tree {tree} {problem}")))?;
        let output = (tree * shape.width) % shape.outputs;
        builder.push(output..output + shape.width, &nodes.splits, &nodes.leaves, &nodes.sets)?;
        if explains {
            builder.cover(Covers { splits: &nodes.covers[0], leaves: &nodes.covers[1] })?;
        } else {
            builder.number_leaves(nodes.numbers);
        }
    }
    let [input, output] = ["input", "output"].map(|name| head.precision(name));
    Ok(TreeModel {
        trees: builder,
        features: head.texts("feature_names").map_err(wrong)?.filter(|names| names.len() == shape.features),
        columns: None,
        input: input.map_err(wrong)?,
        output: output.map_err(wrong)?,
        answer,
    })
}

/// The JSON, and what follows it.
fn head(bytes: &[u8]) -> Read<(Value, &[u8])> {
    let cut = || "ends within its head".to_owned();
    let length = bytes.get(12..START).and_then(|length| length.first_chunk()).ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    if !length.is_multiple_of(8) {
        return Err(format!("has a head of {length} bytes, expected a multiple of 8"));
    }
    let (json, lists) = bytes[START..].split_at_checked(length).ok_or_else(cut)?;
    let wanted = Wanted { skipped: &["producer"], lists: &[], take: &mut |_| Ok(()), deepest: DEEPEST };
    Ok((document::read(json, wanted)?, lists))
}
