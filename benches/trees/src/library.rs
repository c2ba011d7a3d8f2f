//! Shared libraries, opened at run time and never closed.

use std::error::Error;
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::path::Path;

/// An open library.
#[derive(Clone, Copy)]
pub struct Library(*mut c_void);

const NOW: c_int = 2;

unsafe extern "C" {
    fn dlopen(path: *const c_char, mode: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    fn dlerror() -> *const c_char;
}

impl Library {
    pub fn open(path: &Path) -> Result<Self, Box<dyn Error>> {
        let name = CString::new(path.as_os_str().as_encoded_bytes())?;
        // SAFETY: the name ends in a zero; the libraries' initialisers are those of the published wheels.
        let library = unsafe { dlopen(name.as_ptr(), NOW) };
        if library.is_null() {
            Err(last_error().into())
        } else {
            Ok(Self(library))
        }
    }

    /// A function of the library.
    ///
    /// # Safety
    /// `F` is the type of a pointer to the function of this name.
    pub unsafe fn function<F: Copy>(self, name: &str) -> Result<F, Box<dyn Error>> {
        const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
        let name = CString::new(name)?;
        // SAFETY: the library is open, the name ends in a zero.
        let symbol = unsafe { dlsym(self.0, name.as_ptr()) };
        if symbol.is_null() {
            return Err(last_error().into());
        }
        // SAFETY: the caller says that `F` is a pointer to this function.
        Ok(unsafe { std::mem::transmute_copy(&symbol) })
    }
}

fn last_error() -> String {
    // SAFETY: `dlerror` gives null or a string that lives until the next call.
    let error = unsafe { dlerror() };
    if error.is_null() {
        return "unknown error of the loader".into();
    }
    // SAFETY: not null, see above.
    unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned()
}
