//! Reads the NumPy arrays of a corpus.

use std::path::Path;

/// The numbers of an array, row after row, and its shape. float32 is widened, integers become float64.
pub fn read(path: &Path) -> (Vec<f64>, Vec<usize>) {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let data = &bytes[10 + length..];
    let numbers: Vec<f64> = if header.contains("<f4") {
        data.as_chunks::<4>().0.iter().map(|c| f64::from(f32::from_le_bytes(*c))).collect()
    } else if header.contains("<f8") {
        data.as_chunks::<8>().0.iter().map(|c| f64::from_le_bytes(*c)).collect()
    } else if header.contains("<i8") {
        data.as_chunks::<8>().0.iter().map(|c| i64::from_le_bytes(*c) as f64).collect()
    } else {
        panic!("{}: {header}", path.display());
    };
    assert_eq!(numbers.len(), shape.iter().product::<usize>());
    match shape[..] {
        // Column after column: turned around.
        [rows, columns] if header.contains("'fortran_order': True") => {
            let turned = (0..rows).flat_map(|row| (0..columns).map(move |column| column * rows + row));
            (turned.map(|at| numbers[at]).collect(), shape)
        }
        _ => (numbers, shape),
    }
}

/// The strings of an array, as the places of their names in a list.
pub fn places(path: &Path, names: &[String]) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    let Some(width) = header.split_once("'<U").map(|(_, rest)| rest.split('\'').next().unwrap()) else {
        return read(path).0;
    };
    let texts = bytes[10 + length..].chunks_exact(width.parse::<usize>().unwrap() * 4);
    let text = |chars: &[u8]| -> String {
        let codes = chars.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c));
        codes.take_while(|&code| code != 0).filter_map(char::from_u32).collect()
    };
    texts
        .map(|chars| names.iter().position(|name| *name == text(chars)).map_or(f64::NAN, |place| place as f64))
        .collect()
}
