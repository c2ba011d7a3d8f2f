//! Reads the NumPy arrays of a corpus.

use std::path::Path;

/// The numbers of an array, row after row, and its shape. float32 is widened.
pub fn read(path: &Path) -> (Vec<f64>, Vec<usize>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'fortran_order': False"), "{header}");
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = &bytes[10 + length..];
    let numbers: Vec<f64> = if header.contains("<f4") {
        data.as_chunks::<4>().0.iter().map(|c| f64::from(f32::from_le_bytes(*c))).collect()
    } else if header.contains("<f8") {
        data.as_chunks::<8>().0.iter().map(|c| f64::from_le_bytes(*c)).collect()
    } else {
        panic!("{}: {header}", path.display());
    };
    assert_eq!(numbers.len(), shape.iter().product::<usize>());
    (numbers, shape)
}
