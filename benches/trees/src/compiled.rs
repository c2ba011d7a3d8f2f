//! Models that TL2cgen and lleaves made into machine code.

use std::ffi::c_int;
use std::path::Path;

use crate::library::Library;
use crate::scorer::{Events, Result, Scorer, FEATURES};

/// A value for TL2cgen: -1 where a row has none.
#[repr(C)]
#[derive(Clone, Copy)]
pub union Entry<T: Copy> {
    missing: c_int,
    value: T,
}

pub type Predict<T> = unsafe extern "C" fn(*mut Entry<T>, c_int, *mut T);

/// A model compiled by TL2cgen. Thresholds and leaves are float32 or float64, as the model has them.
pub enum Tl2cgen {
    Single(Predict<f32>, Which),
    Double(Predict<f64>, Which),
}

/// What is asked of a model.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Which {
    Margin,
    /// The last number of the prediction.
    Prediction,
    /// scikit-learn's decision function of an isolation forest; Treelite's prediction is its score, whose sign and origin
    /// differ.
    Decision,
}

impl Tl2cgen {
    pub fn open(path: &Path, which: Which) -> Result<Self> {
        let library = Library::open(path)?;
        // SAFETY: the compiler always exports this function with this type.
        let kind =
            unsafe { library.function::<unsafe extern "C" fn() -> *const std::ffi::c_char>("get_threshold_type")? };
        // SAFETY: the function gives a literal.
        let kind = unsafe { std::ffi::CStr::from_ptr(kind()) };
        // SAFETY: `predict` takes rows and gives numbers of the type of the thresholds.
        Ok(unsafe {
            match kind.to_bytes() {
                b"float32" => Self::Single(library.function("predict")?, which),
                _ => Self::Double(library.function("predict")?, which),
            }
        })
    }
}

fn entries<T: Copy + PartialEq + Default>(row: &[T]) -> [Entry<T>; FEATURES] {
    let mut entries = [Entry { value: T::default() }; FEATURES];
    for (entry, &value) in entries.iter_mut().zip(row) {
        #[allow(clippy::eq_op)]
        let missing = value != value;
        if missing {
            entry.missing = -1;
        } else {
            entry.value = value;
        }
    }
    entries
}

/// Runs a compiled model; its prediction may be two numbers, of which the second is wanted.
fn run<T: Copy + PartialEq + Default + Into<f64>>(predict: Predict<T>, which: Which, row: &[T]) -> f64 {
    let mut entries = entries(row);
    let mut out = [T::default(); 2];
    // SAFETY: the model has as many features as there are entries, and gives at most two numbers.
    unsafe { predict(entries.as_mut_ptr(), c_int::from(which == Which::Margin), out.as_mut_ptr()) };
    let [first, second] = out.map(Into::into);
    match which {
        Which::Margin => first,
        Which::Prediction => second,
        Which::Decision => 0.5 - first,
    }
}

impl Scorer for Tl2cgen {
    fn name(&self) -> String {
        "TL2cgen (Treelite)".into()
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        for (row, out) in (first..).zip(out) {
            let row = row * FEATURES..(row + 1) * FEATURES;
            *out = match self {
                Self::Single(predict, which) => run(*predict, *which, &events.single[row]),
                Self::Double(predict, which) => run(*predict, *which, &events.double[row]),
            };
        }
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        1e-5
    }
}

type Root = unsafe extern "C" fn(*const f64, *mut f64, c_int, c_int);

/// A model compiled by lleaves.
pub struct Lleaves(Root);

impl Lleaves {
    pub fn open(path: &Path) -> Result<Self> {
        // SAFETY: lleaves always makes this function: rows, results, the first row and the one after the last.
        Ok(Self(unsafe { Library::open(path)?.function("forest_root")? }))
    }
}

impl Scorer for Lleaves {
    fn name(&self) -> String {
        "lleaves".into()
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        let rows = &events.double[first * FEATURES..][..out.len() * FEATURES];
        // SAFETY: the rows and the results are as many as is said.
        unsafe { self.0(rows.as_ptr(), out.as_mut_ptr(), 0, out.len() as c_int) };
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        1e-12
    }
}
