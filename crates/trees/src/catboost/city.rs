//! CityHash64 in its first version (1.0.2), which is how CatBoost turns categories into numbers. Later versions of the
//! function give other values.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;
const MIX: u64 = 0x9ddf_ea08_eb38_2d69;

/// The hash of a string's bytes.
pub(crate) fn city_hash64(text: &[u8]) -> u64 {
    match text.len() {
        0 => K2,
        1..=3 => up_to_3(text),
        4..=8 => {
            let length = text.len() as u64;
            pair(length.wrapping_add(word32(text, 0) << 3), word32(text, text.len() - 4))
        }
        9..=16 => {
            let (first, last) = (word(text, 0), word(text, text.len() - 8));
            let turned = last.wrapping_add(text.len() as u64).rotate_right(text.len() as u32);
            pair(first, turned) ^ last
        }
        17..=32 => up_to_32(text),
        33..=64 => up_to_64(text),
        _ => long(text),
    }
}

/// The eight bytes at a place, little-endian. Places are in range by construction; zero stands for what is not.
fn word(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn word32(text: &[u8], at: usize) -> u64 {
    text.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes)))
}

fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

/// Two numbers into one.
fn pair(low: u64, high: u64) -> u64 {
    let a = shift_mix((low ^ high).wrapping_mul(MIX));
    shift_mix((high ^ a).wrapping_mul(MIX)).wrapping_mul(MIX)
}

fn up_to_3(text: &[u8]) -> u64 {
    let byte = |at: usize| u64::from(text.get(at).copied().unwrap_or_default());
    let y = byte(0) + (byte(text.len() >> 1) << 8);
    let z = text.len() as u64 + (byte(text.len() - 1) << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
}

fn up_to_32(text: &[u8]) -> u64 {
    let end = text.len();
    let a = word(text, 0).wrapping_mul(K1);
    let b = word(text, 8);
    let c = word(text, end - 8).wrapping_mul(K2);
    let d = word(text, end - 16).wrapping_mul(K0);
    pair(
        a.wrapping_sub(b).rotate_right(43).wrapping_add(c.rotate_right(30)).wrapping_add(d),
        a.wrapping_add((b ^ K3).rotate_right(20)).wrapping_sub(c).wrapping_add(end as u64),
    )
}

fn up_to_64(text: &[u8]) -> u64 {
    let end = text.len();
    let half = |a: u64, z: u64, second: u64, third: u64| {
        let b = a.wrapping_add(z).rotate_right(52);
        let c = a.rotate_right(37);
        let a = a.wrapping_add(second);
        let c = c.wrapping_add(a.rotate_right(7));
        let a = a.wrapping_add(third);
        (a.wrapping_add(z), b.wrapping_add(a.rotate_right(31)).wrapping_add(c))
    };
    let first = word(text, 0).wrapping_add((end as u64).wrapping_add(word(text, end - 16)).wrapping_mul(K0));
    let (vf, vs) = half(first, word(text, 24), word(text, 8), word(text, 16));
    let first = word(text, 16).wrapping_add(word(text, end - 32));
    let (wf, ws) = half(first, word(text, end - 8), word(text, end - 24), word(text, end - 16));
    let r = shift_mix(vf.wrapping_add(ws).wrapping_mul(K2).wrapping_add(wf.wrapping_add(vs).wrapping_mul(K0)));
    shift_mix(r.wrapping_mul(K0).wrapping_add(vs)).wrapping_mul(K2)
}

/// A weak hash of 32 bytes and two seeds.
fn weak(text: &[u8], at: usize, a: u64, b: u64) -> (u64, u64) {
    let (w, x, y, z) = (word(text, at), word(text, at + 8), word(text, at + 16), word(text, at + 24));
    let a = a.wrapping_add(w);
    let b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let c = a;
    let a = a.wrapping_add(x).wrapping_add(y);
    (a.wrapping_add(z), b.wrapping_add(a.rotate_right(44)).wrapping_add(c))
}

/// More than 64 bytes: the end first, then blocks of 64 with 56 bytes of state.
fn long(text: &[u8]) -> u64 {
    let end = text.len();
    let length = end as u64;
    let mut x = word(text, 0);
    let mut y = word(text, end - 16) ^ K1;
    let mut z = word(text, end - 56) ^ K0;
    let mut v = weak(text, end - 64, length, y);
    let mut w = weak(text, end - 32, length.wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    for at in (0..(end - 1) & !63).step_by(64) {
        x = x.wrapping_add(y).wrapping_add(v.0).wrapping_add(word(text, at + 16)).rotate_right(37).wrapping_mul(K1);
        y = y.wrapping_add(v.1).wrapping_add(word(text, at + 48)).rotate_right(42).wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak(text, at, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak(text, at + 32, z.wrapping_add(w.1), y);
        std::mem::swap(&mut z, &mut x);
    }
    let low = pair(v.0, w.0).wrapping_add(shift_mix(y).wrapping_mul(K1)).wrapping_add(z);
    pair(low, pair(v.1, w.1).wrapping_add(x))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CatBoost itself wrote them into models (`cat_features_hash`), the lower half of each.
    #[test]
    fn hashes_are_catboosts() {
        let cases: &[(&str, u32)] = &[
            ("", 797_982_799),
            ("a", 3_489_901_818),
            ("3", 593_172_586),
            ("-3", 1_837_837_212),
            ("ü", 3_774_041_690),
            ("x y", 302_692_663),
            ("C091", 1_749_279_319),
            ("swipe", 284_717_677),
        ];
        for &(text, wanted) in cases {
            assert_eq!(city_hash64(text.as_bytes()) as u32, wanted, "{text}");
        }
    }
}
