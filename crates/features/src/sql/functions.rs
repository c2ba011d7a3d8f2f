//! Which SQL functions there are, and what each may be used for.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use datafusion_expr::{AggregateUDF, ScalarUDF, Volatility, WindowUDF};

/// Aggregates of numbers. The planner's own list of what they take names types that no pipeline file has.
pub(super) fn takes_numbers(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let families =
        ["sum", "avg", "mean", "var", "stddev", "covar", "corr", "regr_", "approx_percentile", "approx_median"];
    families.iter().any(|family| name.starts_with(family))
}

/// Functions that our window operator computes.
const WINDOWED: &[&str] = &[
    "count",
    "sum",
    "avg",
    "min",
    "max",
    "var",
    "var_pop",
    "stddev",
    "stddev_pop",
    "covar_samp",
    "covar_pop",
    "corr",
    "regr_slope",
    "first_value",
    "last_value",
    "nth_value",
    "lag",
    "row_number",
    "approx_distinct",
    "approx_percentile_cont",
];

/// What a function name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A function of the row alone.
    Scalar,
    /// A scalar function that reads the clock.
    Clock,
    /// A scalar function that gives something else at every call.
    Random,
    /// Computed over a window, with OVER.
    Windowed,
    /// SQL knows it, a stream does not compute it.
    Refused {
        /// Why not.
        reason: &'static str,
        /// What to write instead.
        instead: Option<&'static str>,
    },
}

pub(crate) struct Functions {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    aggregate: BTreeMap<String, Arc<AggregateUDF>>,
    window: BTreeMap<String, Arc<WindowUDF>>,
}

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(Functions::new);

impl Functions {
    pub(crate) fn get() -> &'static Self {
        &FUNCTIONS
    }

    fn new() -> Self {
        let mut scalar = BTreeMap::new();
        // What a batch engine knows of its files, and a stream has none of.
        let of_files = ["input_file_name", "file_row_index"];
        let all = datafusion_functions::all_default_functions();
        for f in all.into_iter().filter(|f| !of_files.contains(&f.name())) {
            for alias in f.aliases() {
                scalar.insert(alias.clone(), f.clone());
            }
            scalar.insert(f.name().to_owned(), f);
        }
        let mut aggregate = BTreeMap::new();
        for f in datafusion_functions_aggregate::all_default_aggregate_functions() {
            for alias in f.aliases() {
                aggregate.insert(alias.clone(), f.clone());
            }
            aggregate.insert(f.name().to_owned(), f);
        }
        let mut window = BTreeMap::new();
        for f in datafusion_functions_window::all_default_window_functions() {
            for alias in f.aliases() {
                window.insert(alias.clone(), f.clone());
            }
            window.insert(f.name().to_owned(), f);
        }
        Self { scalar, aggregate, window }
    }

    pub(crate) fn scalar(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.scalar.get(name).cloned()
    }

    pub(crate) fn aggregate(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.aggregate.get(name).cloned()
    }

    pub(crate) fn window(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.window.get(name).cloned()
    }

    pub(crate) fn scalar_names(&self) -> Vec<String> {
        self.scalar.keys().cloned().collect()
    }

    /// Names worth suggesting.
    pub(crate) fn usable_names(&self) -> impl Iterator<Item = &str> {
        self.scalar
            .iter()
            .filter(|(_, f)| f.signature().volatility == Volatility::Immutable)
            .map(|(name, _)| name.as_str())
            .chain(WINDOWED.iter().copied())
            .chain(["stddev_samp", "var_samp", "mean"])
    }

    /// What a lower-case name stands for.
    pub(crate) fn kind(&self, name: &str) -> Option<Kind> {
        if let Some(f) = self.scalar.get(name) {
            return Some(match f.signature().volatility {
                Volatility::Immutable => Kind::Scalar,
                Volatility::Stable => Kind::Clock,
                Volatility::Volatile => Kind::Random,
            });
        }
        let canonical = match (self.aggregate.get(name), self.window.get(name)) {
            (Some(f), _) => f.name(),
            (None, Some(f)) => f.name(),
            (None, None) => return None,
        };
        if WINDOWED.contains(&canonical) {
            return Some(Kind::Windowed);
        }
        Some(refused(canonical))
    }
}

fn refused(name: &str) -> Kind {
    let (reason, instead) = match name {
        "lead" => ("it needs rows that have not arrived yet", Some("LAG looks at earlier rows")),
        "rank" | "dense_rank" | "percent_rank" | "cume_dist" | "ntile" => {
            ("a row's rank changes with every row that arrives later", Some("ROW_NUMBER counts the rows so far"))
        }
        "median" | "approx_median" => {
            ("it is not computed incrementally", Some("APPROX_PERCENTILE_CONT(x, 0.5) OVER (…) gives the median"))
        }
        "percentile_cont" | "approx_percentile_cont_with_weight" => {
            ("it is not computed incrementally", Some("APPROX_PERCENTILE_CONT(x, 0.9) OVER (…) is"))
        }
        "array_agg" | "string_agg" => ("it would keep every row of the window in one value", None),
        "regr_intercept" | "regr_count" | "regr_r2" | "regr_avgx" | "regr_avgy" | "regr_sxx" | "regr_syy"
        | "regr_sxy" => ("it is not computed incrementally", Some("REGR_SLOPE, CORR and COVAR_POP are")),
        "any_value" => ("which value it gives is not defined", Some("use FIRST_VALUE or LAST_VALUE")),
        _ => ("it is not computed over streams", None),
    };
    Kind::Refused { reason, instead }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_kind() {
        let f = Functions::get();
        for name in WINDOWED {
            assert_eq!(f.kind(name), Some(Kind::Windowed), "{name}");
        }
        assert_eq!(f.kind("mean"), Some(Kind::Windowed));
        assert_eq!(f.kind("stddev_samp"), Some(Kind::Windowed));
        assert_eq!(f.kind("now"), Some(Kind::Clock));
        assert_eq!(f.kind("current_timestamp"), Some(Kind::Clock));
        assert_eq!(f.kind("uuid"), Some(Kind::Random));
        assert_eq!(f.kind("random"), Some(Kind::Random));
        assert!(matches!(f.kind("lead"), Some(Kind::Refused { .. })));
        assert_eq!(f.kind("upper"), Some(Kind::Scalar));
        assert_eq!(f.kind("nope"), None);
        let stable: Vec<&String> = f
            .scalar
            .iter()
            .filter(|(_, f)| f.signature().volatility != Volatility::Immutable)
            .map(|(n, _)| n)
            .collect();
        assert_eq!(
            stable,
            ["current_date", "current_time", "current_timestamp", "now", "rand", "random", "today", "uuid"],
            "a function of another kind appeared: decide whether it may run on a stream"
        );
    }
}
