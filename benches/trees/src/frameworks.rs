//! The C interfaces of XGBoost and LightGBM, with their calls for one row.

use std::ffi::{CString, c_char, c_int, c_void};
use std::path::Path;

use crate::library::Library;
use crate::scorer::{Events, FEATURES, Result, Scorer};

type Handle = *mut c_void;

fn path_text(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_encoded_bytes())?)
}

fn done(code: c_int, what: &str) -> Result<()> {
    if code == 0 { Ok(()) } else { Err(format!("{what} failed with {code}").into()) }
}

type PredictFromDense = unsafe extern "C" fn(
    Handle,
    *const c_char,
    *const c_char,
    Handle,
    *mut *const u64,
    *mut u64,
    *mut *const f32,
) -> c_int;

/// XGBoost, predicting in place from dense rows. The rows are copied to where its description of them points.
pub struct Xgboost {
    booster: Handle,
    predict: PredictFromDense,
    config: CString,
    rows: Vec<f32>,
    /// How many rows `interface` describes.
    described: usize,
    interface: CString,
}

/// Rows of a call, at most.
const ROWS_MAX: usize = 4096;

impl Xgboost {
    pub fn open(library: &Path, model: &Path) -> Result<Self> {
        let library = Library::open(library)?;
        // SAFETY: these are the types in XGBoost's header.
        let (create, load, set, predict) = unsafe {
            type Create = unsafe extern "C" fn(*const Handle, u64, *mut Handle) -> c_int;
            type Load = unsafe extern "C" fn(Handle, *const c_char) -> c_int;
            type Set = unsafe extern "C" fn(Handle, *const c_char, *const c_char) -> c_int;
            (
                library.function::<Create>("XGBoosterCreate")?,
                library.function::<Load>("XGBoosterLoadModel")?,
                library.function::<Set>("XGBoosterSetParam")?,
                library.function::<PredictFromDense>("XGBoosterPredictFromDense")?,
            )
        };
        let mut booster = std::ptr::null_mut();
        // SAFETY: the strings end in zero, the handle is what `create` wrote.
        unsafe {
            done(create(std::ptr::null(), 0, &raw mut booster), "XGBoosterCreate")?;
            done(load(booster, path_text(model)?.as_ptr()), "XGBoosterLoadModel")?;
            done(set(booster, c"nthread".as_ptr(), c"1".as_ptr()), "XGBoosterSetParam")?;
        }
        let config = r#"{"type":1,"training":false,"iteration_begin":0,"iteration_end":0,"strict_shape":false,"missing":NaN,"cache_id":0}"#;
        Ok(Self {
            booster,
            predict,
            config: CString::new(config)?,
            rows: vec![0.0; ROWS_MAX * FEATURES],
            described: 0,
            interface: CString::default(),
        })
    }
}

impl Scorer for Xgboost {
    fn name(&self) -> String {
        "XGBoost".into()
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        let rows = &events.single[first * FEATURES..][..out.len() * FEATURES];
        self.rows[..rows.len()].copy_from_slice(rows);
        if self.described != out.len() {
            let data = self.rows.as_ptr() as usize;
            let shape = out.len();
            self.interface = CString::new(format!(
                r#"{{"data":[{data},true],"shape":[{shape},{FEATURES}],"typestr":"<f4","version":3}}"#
            ))?;
            self.described = shape;
        }
        let (mut shape, mut dimensions, mut result) = (std::ptr::null(), 0, std::ptr::null());
        // SAFETY: the interface describes `self.rows`, and the result holds a number for each row until the next call.
        let result = unsafe {
            let code = (self.predict)(
                self.booster,
                self.interface.as_ptr(),
                self.config.as_ptr(),
                std::ptr::null_mut(),
                &raw mut shape,
                &raw mut dimensions,
                &raw mut result,
            );
            done(code, "XGBoosterPredictFromDense")?;
            std::slice::from_raw_parts(result, out.len())
        };
        out.iter_mut().zip(result).for_each(|(out, &number)| *out = f64::from(number));
        Ok(())
    }

    fn tolerance(&self) -> f64 {
        0.0
    }
}

type PredictRow = unsafe extern "C" fn(Handle, *const c_void, *mut i64, *mut f64) -> c_int;
type PredictMatrix = unsafe extern "C" fn(
    Handle,
    *const c_void,
    c_int,
    i32,
    i32,
    c_int,
    c_int,
    c_int,
    c_int,
    *const c_char,
    *mut i64,
    *mut f64,
) -> c_int;

const FLOAT64: c_int = 1;
const RAW_SCORE: c_int = 1;

/// LightGBM: its fast call for one row, its matrix call for several.
pub struct Lightgbm {
    booster: Handle,
    fast: Handle,
    row: PredictRow,
    matrix: PredictMatrix,
}

impl Lightgbm {
    pub fn open(library: &Path, model: &Path) -> Result<Self> {
        let library = Library::open(library)?;
        // SAFETY: these are the types in LightGBM's header.
        let (create, init, row, matrix) = unsafe {
            type Create = unsafe extern "C" fn(*const c_char, *mut c_int, *mut Handle) -> c_int;
            type Init = unsafe extern "C" fn(Handle, c_int, c_int, c_int, c_int, i32, *const c_char, *mut Handle) -> c_int;
            (
                library.function::<Create>("LGBM_BoosterCreateFromModelfile")?,
                library.function::<Init>("LGBM_BoosterPredictForMatSingleRowFastInit")?,
                library.function::<PredictRow>("LGBM_BoosterPredictForMatSingleRowFast")?,
                library.function::<PredictMatrix>("LGBM_BoosterPredictForMat")?,
            )
        };
        let (mut booster, mut fast, mut iterations) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: the strings end in zero, the handles are what the library wrote.
        unsafe {
            let code = create(path_text(model)?.as_ptr(), &raw mut iterations, &raw mut booster);
            done(code, "LGBM_BoosterCreateFromModelfile")?;
            let threads = c"num_threads=1".as_ptr();
            let code = init(booster, RAW_SCORE, 0, -1, FLOAT64, FEATURES as i32, threads, &raw mut fast);
            done(code, "LGBM_BoosterPredictForMatSingleRowFastInit")?;
        }
        Ok(Self { booster, fast, row, matrix })
    }
}

impl Scorer for Lightgbm {
    fn name(&self) -> String {
        "LightGBM".into()
    }

    fn predict(&mut self, events: &Events, first: usize, out: &mut [f64]) -> Result<()> {
        let rows = &events.double[first * FEATURES..][..out.len() * FEATURES];
        let mut written = 0;
        // SAFETY: the rows and the results are as many as is said.
        unsafe {
            if let [out] = out {
                let code = (self.row)(self.fast, rows.as_ptr().cast(), &raw mut written, out);
                return done(code, "LGBM_BoosterPredictForMatSingleRowFast");
            }
            let code = (self.matrix)(
                self.booster,
                rows.as_ptr().cast(),
                FLOAT64,
                out.len() as i32,
                FEATURES as i32,
                1,
                RAW_SCORE,
                0,
                -1,
                c"num_threads=1".as_ptr(),
                &raw mut written,
                out.as_mut_ptr(),
            );
            done(code, "LGBM_BoosterPredictForMat")
        }
    }

    fn tolerance(&self) -> f64 {
        0.0
    }
}
