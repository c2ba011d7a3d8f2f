//! The codes of this crate's errors: `MS02xx`.

use millstream_core::Code;

/// SQL that does not parse.
pub const SYNTAX: Code = Code::new("MS0201", "SQL that does not parse");
/// A relation in FROM that is neither source, step nor table.
pub const UNKNOWN_RELATION: Code = Code::new("MS0202", "unknown relation in FROM");
/// A column that no relation in scope has.
pub const UNKNOWN_COLUMN: Code = Code::new("MS0203", "unknown column");
/// A column name that several relations in scope have.
pub const AMBIGUOUS_COLUMN: Code = Code::new("MS0204", "ambiguous column");
/// A function that does not exist.
pub const UNKNOWN_FUNCTION: Code = Code::new("MS0205", "unknown function");
/// Operands or arguments of types that an operator or function does not take.
pub const TYPE: Code = Code::new("MS0206", "types that do not fit");
/// Two output columns of one name.
pub const DUPLICATE_COLUMN: Code = Code::new("MS0207", "two output columns with one name");
/// A condition that is not a boolean.
pub const NOT_BOOLEAN: Code = Code::new("MS0208", "a condition that is not a boolean");
/// Something other than one SELECT.
pub const NOT_A_SELECT: Code = Code::new("MS0210", "not a SELECT");
/// ORDER BY outside of OVER.
pub const ORDER_BY: Code = Code::new("MS0211", "ORDER BY on a stream");
/// LIMIT, OFFSET, FETCH or TOP.
pub const LIMIT: Code = Code::new("MS0212", "LIMIT on a stream");
/// GROUP BY or HAVING.
pub const GROUP_BY: Code = Code::new("MS0213", "GROUP BY on a stream");
/// An aggregate function without OVER.
pub const AGGREGATE_WITHOUT_OVER: Code = Code::new("MS0214", "aggregate without OVER");
/// SELECT DISTINCT.
pub const DISTINCT: Code = Code::new("MS0215", "DISTINCT on a stream");
/// UNION, INTERSECT, EXCEPT.
pub const SET_OPERATION: Code = Code::new("MS0216", "UNION and its kin");
/// A subquery inside an expression.
pub const SUBQUERY: Code = Code::new("MS0217", "subquery in an expression");
/// Other SQL that a stream has no use for.
pub const UNSUPPORTED: Code = Code::new("MS0218", "unsupported SQL");
/// A kind of join that a stream can't have.
pub const JOIN_KIND: Code = Code::new("MS0220", "unsupported join");
/// A join of a stream with a stream.
pub const STREAM_JOIN: Code = Code::new("MS0221", "join of two streams");
/// A join whose condition is not an equality with the table's key.
pub const JOIN_KEY: Code = Code::new("MS0222", "join that is not on the table's key");
/// A query that reads no stream.
pub const NO_STREAM: Code = Code::new("MS0223", "query that reads no stream");
/// A window that is not ordered by event time.
pub const WINDOW_ORDER: Code = Code::new("MS0230", "window not ordered by event time");
/// A frame that a stream can't have.
pub const WINDOW_FRAME: Code = Code::new("MS0231", "unsupported window frame");
/// A window function that a stream can't compute.
pub const WINDOW_FUNCTION: Code = Code::new("MS0232", "unsupported window function");
/// A window that needs rows of other partitions.
pub const WINDOW_PARTITION: Code = Code::new("MS0233", "window across partitions of the input");
/// A window function where none can stand.
pub const WINDOW_PLACE: Code = Code::new("MS0234", "misplaced window function");
/// A bad argument of a window function.
pub const WINDOW_ARGUMENT: Code = Code::new("MS0235", "bad argument of a window function");
/// `OVER name` without such a window.
pub const UNKNOWN_WINDOW: Code = Code::new("MS0236", "unknown window");
/// A window over an input without event time.
pub const NO_EVENT_TIME: Code = Code::new("MS0237", "window over an input without event time");
/// A function whose result differs from run to run.
pub const NOT_DETERMINISTIC: Code = Code::new("MS0240", "clock or random function");
/// An expression that failed for a row.
pub const ROW: Code = Code::new("MS0250", "expression failed for a row");
/// A reference table that can't be read.
pub const TABLE_READ: Code = Code::new("MS0260", "table that can't be read");
/// Two rows of a table with one key.
pub const TABLE_DUPLICATE_KEY: Code = Code::new("MS0261", "two rows of a table with one key");
/// A key that is not a column of its table, or null.
pub const TABLE_KEY: Code = Code::new("MS0262", "bad key of a table");
/// A table that is not what the query was planned with.
pub const TABLE_CHANGED: Code = Code::new("MS0263", "table that does not fit the plan");
/// A query that the SQL planner refused for reasons of its own.
pub const PLANNER: Code = Code::new("MS0299", "query that could not be planned");

/// Every code of this crate.
pub const ALL: &[Code] = &[
    SYNTAX,
    UNKNOWN_RELATION,
    UNKNOWN_COLUMN,
    AMBIGUOUS_COLUMN,
    UNKNOWN_FUNCTION,
    TYPE,
    DUPLICATE_COLUMN,
    NOT_BOOLEAN,
    NOT_A_SELECT,
    ORDER_BY,
    LIMIT,
    GROUP_BY,
    AGGREGATE_WITHOUT_OVER,
    DISTINCT,
    SET_OPERATION,
    SUBQUERY,
    UNSUPPORTED,
    JOIN_KIND,
    STREAM_JOIN,
    JOIN_KEY,
    NO_STREAM,
    WINDOW_ORDER,
    WINDOW_FRAME,
    WINDOW_FUNCTION,
    WINDOW_PARTITION,
    WINDOW_PLACE,
    WINDOW_ARGUMENT,
    UNKNOWN_WINDOW,
    NO_EVENT_TIME,
    NOT_DETERMINISTIC,
    ROW,
    TABLE_READ,
    TABLE_DUPLICATE_KEY,
    TABLE_KEY,
    TABLE_CHANGED,
    crate::window::codes::LATE_EVENT,
    crate::window::codes::NO_EVENT_TIME,
    crate::window::codes::OUT_OF_RANGE,
    crate::window::codes::UNSUPPORTED_WINDOW,
    crate::window::codes::WINDOW_COLUMNS,
    PLANNER,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_listed_once_and_has_a_page() {
        assert!(crate::window::codes::ALL.iter().all(|code| ALL.contains(code)));
        for (i, code) in ALL.iter().enumerate() {
            assert!(ALL.iter().take(i).all(|other| other.id != code.id), "{code} is listed twice");
            let page = format!("{}/../../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), code.id);
            let text = std::fs::read_to_string(&page).unwrap_or_default();
            let heading = format!("# {}: {}", code.id, code.title);
            assert_eq!(text.lines().next(), Some(heading.as_str()), "{page}");
        }
    }
}
