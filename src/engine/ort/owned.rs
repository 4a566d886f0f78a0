//! Objects of ONNX Runtime's C API, released when dropped, and its statuses as results.
#![allow(unsafe_code)]

use std::ptr::{self, NonNull};

use ::ort::sys;

/// A pointer the C API handed out, with the function that takes it back.
pub(super) struct Owned<T> {
    pointer: NonNull<T>,
    release: unsafe extern "system" fn(*mut T),
}

// SAFETY: these are plain C objects without thread affinity; each is owned by one `Owned`.
unsafe impl<T> Send for Owned<T> {}
// SAFETY: shared use is limited to arguments the C API declares const.
unsafe impl<T> Sync for Owned<T> {}

impl<T> Owned<T> {
    /// Takes over what a function of the API made.
    pub(super) fn new(pointer: *mut T, release: unsafe extern "system" fn(*mut T)) -> ::ort::Result<Self> {
        let pointer = NonNull::new(pointer).ok_or_else(|| ::ort::Error::new("the engine returned no object"))?;
        Ok(Self { pointer, release })
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer came from the API that `release` belongs to, and is released once.
        unsafe { (self.release)(self.pointer.as_ptr()) }
    }
}

pub(super) type OwnedValue = Owned<sys::OrtValue>;

/// Turns a status into a result.
pub(super) fn check(status: sys::OrtStatusPtr) -> ::ort::Result<()> {
    // SAFETY: every caller passes the status of the API call it just made.
    unsafe { ::ort::Error::result_from_status(status) }
}

/// The allocator of everything that the engine makes for us.
pub(super) fn default_allocator() -> ::ort::Result<*mut sys::OrtAllocator> {
    let mut allocator = ptr::null_mut();
    // SAFETY: the out pointer is valid; the allocator is a static of the library.
    check(unsafe { (::ort::api().GetAllocatorWithDefaultOptions)(&raw mut allocator) })?;
    Ok(allocator)
}
