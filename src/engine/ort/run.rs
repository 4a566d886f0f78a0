//! Runs a session through ONNX Runtime's C API, from any number of threads at once.
//!
//! The `ort` crate's own `run` takes `&mut self` and allocates per call. Microsoft documents `Run` as safe to call
//! concurrently on one session of the CPU provider, which is all we use; a stress test compares every concurrent result
//! with the serial one. See `docs/decisions/0003-shared-session.md`.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::ort::AsPointer;
use ::ort::session::{Session, SharedSessionInner};
use ::ort::sys;
use smallvec::SmallVec;

use super::elements::element_type;
use super::extract::{extract, independent};
use super::failure::run_failed;
use super::owned::{Owned, OwnedValue, check, default_allocator};
use crate::error::{Error, ErrorKind, Result};
use crate::signature::Signature;
use crate::stop::{Stop, Terminate};
use crate::tensor::{DType, Elements, InputTensor, OutputRequest, RawData, Strings, Value, element_count};

/// Log severity "error" of the C API.
const SEVERITY_ERROR: i32 = 3;

/// A session with everything that calls need and that does not change between them.
pub(super) struct Runner {
    session: Arc<SharedSessionInner>,
    input_names: Vec<CString>,
    output_names: Vec<CString>,
    memory: Owned<sys::OrtMemoryInfo>,
    quiet: Owned<sys::OrtRunOptions>,
    /// Warnings of a run are the same every time: after the first run they are not even formatted.
    has_run: AtomicBool,
}

impl Runner {
    pub(super) fn new(session: &Session, signature: &Signature) -> Result<Self> {
        let c_name = |name: &str| {
            CString::new(name).map_err(|_| {
                let problem = format!("the input or output name {name:?} contains a zero byte");
                Error::new(ErrorKind::Model, signature.model(), problem, "rename it and export the model again")
            })
        };
        let api = ::ort::api();
        let made = || -> ::ort::Result<(Owned<sys::OrtMemoryInfo>, Owned<sys::OrtRunOptions>)> {
            let mut memory = ptr::null_mut();
            let (kind, place) = (sys::OrtAllocatorType::OrtDeviceAllocator, sys::OrtMemType::OrtMemTypeDefault);
            // SAFETY: the out pointer is valid for the call.
            check(unsafe { (api.CreateCpuMemoryInfo)(kind, place, &raw mut memory) })?;
            let memory = Owned::new(memory, api.ReleaseMemoryInfo)?;
            let quiet = run_options()?;
            make_quiet(&quiet)?;
            Ok((memory, quiet))
        };
        let (memory, quiet) = made().map_err(|error| run_failed(signature.model(), error.message()))?;
        Ok(Self {
            session: session.inner(),
            input_names: signature.inputs().iter().map(|port| c_name(&port.name)).collect::<Result<_>>()?,
            output_names: signature.outputs().iter().map(|port| c_name(&port.name)).collect::<Result<_>>()?,
            memory,
            quiet,
            has_run: AtomicBool::new(false),
        })
    }

    pub(super) fn run(
        &self,
        signature: &Signature,
        inputs: &[InputTensor],
        outputs: &[OutputRequest],
        stop: Option<&Stop>,
    ) -> Result<Vec<Value>> {
        let ran = match stop {
            None if self.has_run.load(Ordering::Relaxed) => self.call(signature, inputs, outputs, self.quiet.as_ptr()),
            None => self.call(signature, inputs, outputs, ptr::null()),
            Some(stop) => self.call_stoppable(signature, inputs, outputs, stop),
        };
        ran.map_err(|error| {
            if stop.is_some_and(Stop::is_stopped) {
                return Error::new(ErrorKind::Stopped, signature.model(), "the run was stopped", "call again");
            }
            run_failed(signature.model(), error.message())
        })
    }

    /// Runs with options of its own, since ending a run means setting a flag in them.
    fn call_stoppable(
        &self,
        signature: &Signature,
        inputs: &[InputTensor],
        outputs: &[OutputRequest],
        stop: &Stop,
    ) -> ::ort::Result<Vec<Value>> {
        let options = Arc::new(run_options()?);
        if self.has_run.load(Ordering::Relaxed) {
            make_quiet(&options)?;
        }
        let flag = Arc::clone(&options);
        let terminate: Terminate = Arc::new(move || {
            // SAFETY: the options live as long as this closure, and the flag is made to be set while a run reads it. If it
            // cannot be set, the run goes on to its end.
            let _ = check(unsafe { (::ort::api().RunOptionsSetTerminate)(flag.as_ptr()) });
        });
        stop.during(&terminate, || self.call(signature, inputs, outputs, options.as_ptr()))
    }

    /// `options` are null or valid for the call.
    fn call(
        &self,
        signature: &Signature,
        inputs: &[InputTensor],
        outputs: &[OutputRequest],
        options: *const sys::OrtRunOptions,
    ) -> ::ort::Result<Vec<Value>> {
        let api = ::ort::api();
        let mut owned_inputs = SmallVec::<[OwnedValue; 4]>::with_capacity(inputs.len());
        let mut input_names = SmallVec::<[*const c_char; 4]>::with_capacity(inputs.len());
        for tensor in inputs {
            owned_inputs.push(match (&tensor.elements, tensor.elements.raw()) {
                (Elements::Strings(strings), _) => strings_tensor(strings, &tensor.shape)?,
                (_, Some(data)) => {
                    let dtype =
                        signature.input_dtype(tensor.index).map_err(|error| ::ort::Error::new(error.to_string()))?;
                    self.borrow(data, dtype, &tensor.shape)?
                }
                (_, None) => return Err(::ort::Error::new("an input without elements")),
            });
            input_names.push(self.input_names[tensor.index].as_ptr());
        }
        let mut borrowed = SmallVec::<[Option<OwnedValue>; 4]>::with_capacity(outputs.len());
        let mut output_names = SmallVec::<[*const c_char; 4]>::with_capacity(outputs.len());
        for request in outputs {
            borrowed.push(match &request.buffer {
                Some(buffer) => {
                    let dtype = output_dtype(signature, request.index)?;
                    Some(self.borrow(buffer.data, dtype, &buffer.shape)?)
                }
                None => None,
            });
            output_names.push(self.output_names[request.index].as_ptr());
        }
        let input_values: SmallVec<[*const sys::OrtValue; 4]> =
            owned_inputs.iter().map(|value| value.as_ptr().cast_const()).collect();
        let mut output_values: SmallVec<[*mut sys::OrtValue; 4]> =
            borrowed.iter().map(|value| value.as_ref().map_or(ptr::null_mut(), Owned::as_ptr)).collect();
        // SAFETY: the session lives as long as `self`. Names and values are arrays of the stated lengths and outlive the
        // call; null outputs ask the engine to allocate. `Run` is safe to call concurrently on the CPU provider.
        let ran = check(unsafe {
            (api.Run)(
                self.session.ptr().cast_mut(),
                options,
                input_names.as_ptr(),
                input_values.as_ptr(),
                input_names.len(),
                output_names.as_ptr(),
                output_names.len(),
                output_values.as_mut_ptr(),
            )
        });
        // What the engine allocated is owned before anything can fail.
        let made: Vec<Option<OwnedValue>> = borrowed
            .iter()
            .zip(&output_values)
            .map(|(borrowed, value)| if borrowed.is_some() { None } else { Owned::new(*value, api.ReleaseValue).ok() })
            .collect();
        ran?;
        self.has_run.store(true, Ordering::Relaxed);
        let lent: SmallVec<[RawData; 4]> = inputs.iter().filter_map(|tensor| tensor.elements.raw()).collect();
        let answers = borrowed.iter().zip(made).map(|(borrowed, made)| match (borrowed, made) {
            (Some(_), _) => Ok(Value::Written),
            (None, Some(made)) => extract(made).map(|value| independent(value, &lent)),
            (None, None) => Ok(Value::Absent),
        });
        answers.collect()
    }

    /// A value that reads or writes the caller's memory.
    fn borrow(&self, data: RawData, dtype: DType, shape: &[i64]) -> ::ort::Result<OwnedValue> {
        let bytes = element_count(shape).and_then(|count| count.checked_mul(dtype.size()));
        if bytes != Some(data.bytes()) {
            return Err(::ort::Error::new(format!("shape {shape:?} does not fit memory of {} bytes", data.bytes())));
        }
        let api = ::ort::api();
        let mut value = ptr::null_mut();
        // SAFETY: by the contract of `RawData` the memory is valid for the whole run, aligned for `dtype`, and just large
        // enough, as checked above; inputs are only read through it.
        check(unsafe {
            (api.CreateTensorWithDataAsOrtValue)(
                self.memory.as_ptr(),
                data.pointer().as_ptr().cast::<c_void>(),
                data.bytes(),
                shape.as_ptr(),
                shape.len(),
                element_type(dtype),
                &raw mut value,
            )
        })?;
        Owned::new(value, api.ReleaseValue)
    }
}

fn run_options() -> ::ort::Result<Owned<sys::OrtRunOptions>> {
    let (api, mut options) = (::ort::api(), ptr::null_mut());
    // SAFETY: the out pointer is valid for the call.
    check(unsafe { (api.CreateRunOptions)(&raw mut options) })?;
    Owned::new(options, api.ReleaseRunOptions)
}

/// Options that are not shared yet: no run reads them.
fn make_quiet(options: &Owned<sys::OrtRunOptions>) -> ::ort::Result<()> {
    // SAFETY: the options are valid.
    check(unsafe { (::ort::api().RunOptionsSetRunLogSeverityLevel)(options.as_ptr(), SEVERITY_ERROR) })
}

fn output_dtype(signature: &Signature, index: usize) -> ::ort::Result<DType> {
    let port = &signature.outputs()[index];
    port.dtype().ok_or_else(|| ::ort::Error::new(format!("{} cannot be written in place", port.dtype_name())))
}

fn strings_tensor(strings: &Strings, shape: &[i64]) -> ::ort::Result<OwnedValue> {
    if element_count(shape) != Some(strings.len()) {
        return Err(::ort::Error::new(format!("shape {shape:?} does not fit {} strings", strings.len())));
    }
    let api = ::ort::api();
    let mut value = ptr::null_mut();
    let dtype = element_type(DType::String);
    // SAFETY: shape and out pointer are valid for the call.
    check(unsafe {
        (api.CreateTensorAsOrtValue)(default_allocator()?, shape.as_ptr(), shape.len(), dtype, &raw mut value)
    })?;
    let value = Owned::new(value, api.ReleaseValue)?;
    for (index, text) in strings.iter().enumerate() {
        let mut buffer = ptr::null_mut();
        // SAFETY: `index` is below the number of elements; the engine returns room for `text.len()` bytes, which are
        // filled before anything else touches the tensor. Lengths, unlike C strings, keep zero bytes inside a text.
        unsafe {
            check((api.GetResizedStringTensorElementBuffer)(value.as_ptr(), index, text.len(), &raw mut buffer))?;
            ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), text.len());
        }
    }
    Ok(value)
}
