//! Joins sources, engines and sessions: what the registry calls to load a model it does not have.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Instant;

use crate::engine::Engine;
use crate::engine::native::{Explain, NativeEngine};
use crate::engine::network::NetworkEngine;
use crate::engine::ort::{ModelSource, OrtEngine, Runtime};
use crate::error::{Error, ErrorKind, Result, without_panic};
use crate::onnx::{self, Classes, Format, ModelFacts};
use crate::options::{Batch, EngineChoice, LoadOptions};
use crate::processor::check_instructions;
use crate::registry::{Loader, facts_of_bytes};
use crate::session::{Origin, Session, ThreadPlan};
use crate::source::ModelFile;
use crate::trees::{
    Answer, Labels, TreeModel, explain_catboost, explain_lightgbm, explain_lightgbm_dump, explain_native,
    explain_xgboost, read_catboost, read_lightgbm, read_lightgbm_dump, read_native, read_xgboost,
};

/// Bytes of a file that are read at once.
const READ_AT_ONCE: usize = 64 * 1024;
/// From so many products a row on, threads work inside operators. With two, a perceptron of 6 million weights took 0.75 of the
/// time for 1 and for 10 rows, which row threads leave to one of them; at 1,000 rows both ways scaled by 1.8, at 10,000 rows
/// 1.6 inside operators and 1.9 by rows (`benches/throughput.py --models wide`).
const BIG_ROW: u64 = 1 << 20;

/// Loads each model into the engine for its format.
pub struct EngineLoader {
    /// Gives ONNX Runtime's library, opened; called for models that need it.
    pub runtime: fn() -> Result<&'static Runtime>,
}

impl EngineLoader {
    fn load(
        &self,
        source: ModelSource<'_>,
        options: &LoadOptions,
        name: &str,
        mut facts: ModelFacts,
    ) -> Result<impl FnOnce(Origin) -> Session + use<>> {
        let started = Instant::now();
        check_instructions()?;
        let (engine, threads): (Box<dyn Engine>, _) = match facts.format {
            Format::Onnx => match choose(source, options, name, &facts)? {
                Chosen::Native(engine) => {
                    let threads = plan_row_threads(options, engine.facts().threads);
                    (engine, threads)
                }
                Chosen::Runtime(why) => {
                    let threads = plan_threads(options, &facts, matches!(source, ModelSource::File(_)));
                    let runtime = (self.runtime)()?;
                    let engine = OrtEngine::new(runtime, source, options, threads.intra, name, &facts)?;
                    (Box::new(engine.because(why)), threads)
                }
            },
            _ if options.engine == EngineChoice::OnnxRuntime => {
                let problem = "is a tree library's own file, which ONNX Runtime does not read";
                let fix = "leave `engine` out, or convert the model to ONNX";
                return Err(Error::new(ErrorKind::Unsupported, name, problem, fix));
            }
            Format::XgBoost => {
                let explain: Explain = |path, name| explain_xgboost(&content(ModelSource::File(path), name)?, name);
                of_file(read_xgboost(&content(source, name)?, name)?, &mut facts, options, name, explain)
            }
            Format::Native => {
                let explain: Explain = |path, name| explain_native(&content(ModelSource::File(path), name)?, name);
                of_file(read_native(&content(source, name)?, name)?, &mut facts, options, name, explain)
            }
            Format::CatBoost => {
                let explain: Explain = |path, name| explain_catboost(&content(ModelSource::File(path), name)?, name);
                of_file(read_catboost(&content(source, name)?, name)?, &mut facts, options, name, explain)
            }
            Format::LightGbmDump => {
                let explain: Explain =
                    |path, name| explain_lightgbm_dump(&content(ModelSource::File(path), name)?, name);
                of_file(read_lightgbm_dump(&content(source, name)?, name)?, &mut facts, options, name, explain)
            }
            Format::LightGbm => {
                let explain: Explain = |path, name| explain_lightgbm(open(ModelSource::File(path), name)?, name);
                of_file(read_lightgbm(open(source, name)?, name)?, &mut facts, options, name, explain)
            }
        };
        let (options, load_time) = (*options, started.elapsed());
        Ok(move |origin| Session::new(engine, options, threads, origin, facts, load_time))
    }
}

/// An engine for a tree library's own file; what the file says of columns and classes goes to `facts`.
fn of_file(
    mut model: TreeModel,
    facts: &mut ModelFacts,
    options: &LoadOptions,
    name: &str,
    explain: Explain,
) -> (Box<dyn Engine>, ThreadPlan) {
    facts.features = model.features.take();
    if let Answer::Label { labels, .. } = &model.answer {
        facts.classes = Some(match labels {
            Labels::Ints(labels) => Classes::Ints(labels.clone()),
            Labels::Texts(labels) => Classes::Strings(labels.clone()),
        });
    }
    (Box::new(NativeEngine::of_file(model, name, explain)), plan_row_threads(options, 1))
}

impl Loader for EngineLoader {
    fn load_file(&self, mut file: ModelFile, options: &LoadOptions) -> Result<Session> {
        let facts = std::mem::take(&mut file.facts);
        let name = file.path().display().to_string();
        let make = without_panic(&name, || self.load(ModelSource::File(file.path()), options, &name, facts))?;
        Ok(make(Origin::File(Box::new(file))))
    }

    fn load_bytes(&self, bytes: &[u8], origin: Origin, options: &LoadOptions) -> Result<Session> {
        let facts = facts_of_bytes(bytes)?;
        let name = "model bytes";
        let make = without_panic(name, || self.load(ModelSource::Bytes(bytes), options, name, facts))?;
        Ok(make(origin))
    }
}

/// What runs an ONNX model.
enum Chosen {
    Native(Box<dyn Engine>),
    /// ONNX Runtime, and why.
    Runtime(String),
}

/// Takes our own engine where it knows the whole graph and may be taken.
fn choose(source: ModelSource<'_>, options: &LoadOptions, name: &str, facts: &ModelFacts) -> Result<Chosen> {
    if options.engine == EngineChoice::OnnxRuntime {
        return Ok(Chosen::Runtime("onnxruntime, as asked for".to_owned()));
    }
    let native: std::result::Result<Box<dyn Engine>, String> = if NetworkEngine::is_network(facts) {
        // One that multiplies by a vector only is a linear model to the other engine.
        match network(source, options, name, facts) {
            Ok(engine) => Ok(Box::new(engine)),
            Err(unknown) => rows(source, name, facts)?.map_err(|_| unknown),
        }
    } else {
        rows(source, name, facts)?
    };
    match native {
        Ok(engine) => Ok(Chosen::Native(engine)),
        Err(unknown) if options.engine == EngineChoice::Native => {
            let problem = format!("cannot be run by glowplug's own engine: {unknown}");
            Err(Error::new(ErrorKind::Unsupported, name, problem, "leave `engine` out to let ONNX Runtime run it"))
        }
        Err(unknown) => {
            Ok(Chosen::Runtime(format!("onnxruntime, since glowplug's own engine cannot run it: {unknown}")))
        }
    }
}

/// An engine for a graph that looks at each row alone.
fn rows(
    source: ModelSource<'_>,
    name: &str,
    facts: &ModelFacts,
) -> Result<std::result::Result<Box<dyn Engine>, String>> {
    if let Some(unknown) = NativeEngine::unknown(facts) {
        return Ok(Err(unknown));
    }
    let source = match source {
        ModelSource::Bytes(bytes) => onnx::Source::Bytes(bytes),
        ModelSource::File(path) => onnx::Source::File(File::open(path).map_err(|error| unreadable(name, &error))?),
    };
    Ok(NativeEngine::of_graph(&source, facts, name).map(|engine| Box::new(engine) as _))
}

fn network(
    source: ModelSource<'_>,
    options: &LoadOptions,
    name: &str,
    facts: &ModelFacts,
) -> std::result::Result<NetworkEngine, String> {
    if options.engine == EngineChoice::Auto && !NetworkEngine::is_fast() {
        return Err("networks are run on x86-64 with AVX2 and fused multiply-add, unless they are asked for".to_owned());
    }
    if let Some(unknown) = NetworkEngine::unknown(facts) {
        return Err(unknown);
    }
    match source {
        ModelSource::Bytes(bytes) => NetworkEngine::of_bytes(bytes, facts, name, options.threads),
        ModelSource::File(path) => NetworkEngine::of_file(path, facts, name, options.threads),
    }
}

fn open<'a>(source: ModelSource<'a>, name: &str) -> Result<Box<dyn BufRead + 'a>> {
    match source {
        ModelSource::Bytes(bytes) => Ok(Box::new(bytes)),
        ModelSource::File(path) => match File::open(path) {
            Ok(file) => Ok(Box::new(BufReader::with_capacity(READ_AT_ONCE, file))),
            Err(error) => Err(unreadable(name, &error)),
        },
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::ModelRead, name, format!("cannot be read: {error}"), "check the path and its disk")
}

fn content<'a>(source: ModelSource<'a>, name: &str) -> Result<Cow<'a, [u8]>> {
    match source {
        ModelSource::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        ModelSource::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|error| unreadable(name, &error)),
    }
}

/// How the threads of a call are used: for rows where they are independent, inside operators where they are not; never both.
///
/// Threads inside operators do not survive a fork. A model of bytes cannot be loaded anew there, so it has none unasked.
fn plan_threads(options: &LoadOptions, facts: &ModelFacts, is_file: bool) -> ThreadPlan {
    let usable = options.threads;
    let inside = |why| ThreadPlan { intra: usable, rows: 1, why };
    let for_rows = |why| ThreadPlan { intra: 1, rows: usable, why };
    match options.batch {
        // The graph is not even looked at on a cold start with one CPU.
        _ if usable == 1 => ThreadPlan { intra: 1, rows: 1, why: "one thread" },
        Batch::Serial => inside("inside operators, since batches are not to be split"),
        Batch::Rows => for_rows("for rows, as asked for"),
        Batch::Auto if !is_file => for_rows("for rows, since threads inside operators would be lost after a fork"),
        Batch::Auto if products_per_row(facts) >= BIG_ROW => inside("inside operators, since each row is much work"),
        Batch::Auto if has_independent_rows(facts) => for_rows("for rows, which are independent"),
        Batch::Auto => inside("inside operators, since rows may depend on each other"),
    }
}

/// Threads of an engine of ours: it has none of its own, though one run may borrow `shared` of ours for large products.
fn plan_row_threads(options: &LoadOptions, shared: usize) -> ThreadPlan {
    let (rows, why) = match (options.batch, options.threads) {
        (_, 1) => (1, "one thread"),
        (Batch::Serial, _) if shared > 1 => (1, "for products with large weights, since batches are not to be split"),
        (Batch::Serial, _) => (1, "one thread, since batches are not to be split"),
        (_, usable) if shared > 1 => (usable, "for rows, which are independent, or for products with large weights"),
        (_, usable) => (usable, "for rows, which are independent"),
    };
    ThreadPlan { intra: 1, rows, why }
}

/// How many numbers of the model a row is multiplied with, at least.
fn products_per_row(facts: &ModelFacts) -> u64 {
    let weights: HashMap<&str, u64> = facts
        .graph
        .constants
        .iter()
        .map(|constant| {
            let elements =
                constant.dims.iter().try_fold(1_u64, |count, dim| count.checked_mul(u64::try_from(*dim).ok()?));
            (constant.name.as_str(), elements.unwrap_or(0))
        })
        .collect();
    let multiplies = |node: &&onnx::Node| matches!(node.operator.as_str(), "MatMul" | "Gemm" | "Conv");
    let of_node = |node: &onnx::Node| node.inputs.iter().filter_map(|input| weights.get(input.as_str())).sum::<u64>();
    facts.graph.nodes.iter().filter(multiplies).map(of_node).sum()
}

fn has_independent_rows(facts: &ModelFacts) -> bool {
    let outputs: Vec<&str> = facts.graph.outputs.iter().map(String::as_str).collect();
    onnx::not_row_wise(&facts.graph, &facts.opsets, &outputs).contains(&None)
}
