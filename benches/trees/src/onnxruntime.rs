//! ONNX Runtime's C interface: a table of functions, of which these are used by their places in it.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

use crate::library::Library;
use crate::scorer::{Events, FEATURES, Result, Scorer};

type Handle = *mut c_void;
type Status = *mut c_void;

/// Version 11 of the interface; later libraries still give it.
const VERSION: u32 = 11;

/// Places of functions in the table (they never change).
mod place {
    pub const GET_ERROR_MESSAGE: usize = 2;
    pub const CREATE_ENV: usize = 3;
    pub const CREATE_SESSION: usize = 7;
    pub const RUN: usize = 9;
    pub const CREATE_SESSION_OPTIONS: usize = 10;
    pub const SET_INTRA_OP_THREADS: usize = 24;
    pub const CREATE_TENSOR: usize = 49;
    pub const GET_TENSOR_DATA: usize = 51;
    pub const CREATE_CPU_MEMORY_INFO: usize = 69;
    pub const RELEASE_VALUE: usize = 96;
}

const FLOAT: c_int = 1;

type Run = unsafe extern "C" fn(
    Handle,
    Handle,
    *const *const c_char,
    *const Handle,
    usize,
    *const *const c_char,
    usize,
    *mut Handle,
) -> Status;
type CreateTensor =
    unsafe extern "C" fn(Handle, *mut c_void, usize, *const i64, usize, c_int, *mut Handle) -> Status;
type GetData = unsafe extern "C" fn(Handle, *mut *mut c_void) -> Status;
type Release = unsafe extern "C" fn(Handle);

#[repr(C)]
struct Base {
    get_api: unsafe extern "C" fn(u32) -> *const usize,
}

/// A session of one thread.
pub struct OnnxRuntime {
    table: *const usize,
    session: Handle,
    memory: Handle,
    output: CString,
    /// Numbers a row has in the output, the last of which is wanted.
    width: usize,
}

impl OnnxRuntime {
    pub fn open(library: &Path, model: &Path, output: &str, width: usize) -> Result<Self> {
        let library = Library::open(library)?;
        // SAFETY: the types of ONNX Runtime's header.
        let base = unsafe { library.function::<unsafe extern "C" fn() -> *const Base>("OrtGetApiBase")? };
        // SAFETY: the base is a static table whose first entry is this function.
        let table = unsafe { ((*base()).get_api)(VERSION) };
        if table.is_null() {
            return Err("ONNX Runtime does not give this version of its interface".into());
        }
        let null = std::ptr::null_mut();
        let mut this = Self { table, session: null, memory: null, output: CString::new(output)?, width };
        type CreateEnv = unsafe extern "C" fn(c_int, *const c_char, *mut Handle) -> Status;
        type CreateOptions = unsafe extern "C" fn(*mut Handle) -> Status;
        type SetThreads = unsafe extern "C" fn(Handle, c_int) -> Status;
        type CreateSession = unsafe extern "C" fn(Handle, *const c_char, Handle, *mut Handle) -> Status;
        type CreateMemory = unsafe extern "C" fn(c_int, c_int, *mut Handle) -> Status;
        let (mut env, mut options) = (null, null);
        let path = CString::new(model.as_os_str().as_encoded_bytes())?;
        // SAFETY: the functions at these places have these types; handles are what the library wrote.
        unsafe {
            this.check(this.function::<CreateEnv>(place::CREATE_ENV)(3, c"bench".as_ptr(), &raw mut env))?;
            this.check(this.function::<CreateOptions>(place::CREATE_SESSION_OPTIONS)(&raw mut options))?;
            this.check(this.function::<SetThreads>(place::SET_INTRA_OP_THREADS)(options, 1))?;
            let create = this.function::<CreateSession>(place::CREATE_SESSION);
            let mut session = null;
            this.check(create(env, path.as_ptr(), options, &raw mut session))?;
            this.session = session;
            let mut memory = null;
            this.check(this.function::<CreateMemory>(place::CREATE_CPU_MEMORY_INFO)(0, 0, &raw mut memory))?;
            this.memory = memory;
        }
        Ok(this)
    }

    /// # Safety
    /// `F` is the type of a pointer to the function at this place.
    unsafe fn function<F: Copy>(&self, place: usize) -> F {
        const { assert!(size_of::<F>() == size_of::<usize>()) };
        // SAFETY: the table is longer than the greatest place, and the caller vouches for the type.
        unsafe { std::mem::transmute_copy(&*self.table.add(place)) }
    }

    fn check(&self, status: Status) -> Result<()> {
        if status.is_null() {
            return Ok(());
        }
        // SAFETY: the function at this place, given a status that is not null.
        let message = unsafe {
            type Message = unsafe extern "C" fn(Status) -> *const c_char;
            CStr::from_ptr(self.function::<Message>(place::GET_ERROR_MESSAGE)(status))
        };
        Err(message.to_string_lossy().into_owned().into())
    }
}

impl Scorer for OnnxRuntime {
    fn name(&self) -> String {
        "ONNX Runtime".into()
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        let rows = &events.single[first * FEATURES..][..out.len() * FEATURES];
        let shape = [out.len() as i64, FEATURES as i64];
        let null = std::ptr::null_mut();
        let (mut input, mut output, mut data) = (null, null, null);
        // SAFETY: the functions at these places have these types. The tensor is over `rows`, which the session only reads and
        // which outlive it; the output holds `width` numbers for each row.
        unsafe {
            let create = self.function::<CreateTensor>(place::CREATE_TENSOR);
            let values = rows.as_ptr().cast_mut().cast();
            self.check(create(self.memory, values, size_of_val(rows), shape.as_ptr(), 2, FLOAT, &raw mut input))?;
            let (inputs, outputs) = ([c"x".as_ptr()], [self.output.as_ptr()]);
            let run = self.function::<Run>(place::RUN);
            let tensors = [input];
            let status = run(
                self.session,
                null,
                inputs.as_ptr(),
                tensors.as_ptr(),
                1,
                outputs.as_ptr(),
                1,
                &raw mut output,
            );
            self.check(status)?;
            self.check(self.function::<GetData>(place::GET_TENSOR_DATA)(output, &raw mut data))?;
            let numbers = std::slice::from_raw_parts(data.cast::<f32>(), out.len() * self.width);
            for (out, row) in out.iter_mut().zip(numbers.chunks_exact(self.width)) {
                *out = f64::from(row[self.width - 1]);
            }
            let release = self.function::<Release>(place::RELEASE_VALUE);
            release(input);
            release(output);
        }
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        1e-5
    }
}
