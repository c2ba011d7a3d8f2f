//! What every source must do, whatever it reads from. Also held against Kafka, by the package `tests`.

use millstream_core::{PollLimit, Polled, Position, RawBatch, Source};

/// A record as a test looks at it.
pub type Seen = (u64, String);

pub fn seen(batch: &RawBatch) -> Vec<Seen> {
    (0..batch.len())
        .map(|i| (batch.offset(i), String::from_utf8_lossy(batch.value(i).unwrap_or_default()).into_owned()))
        .collect()
}

/// Holds a bounded source against what it must give. `open` opens it anew each time, as another process would.
pub fn check(open: &dyn Fn() -> Box<dyn Source>, expected: &[Seen]) {
    in_order_whatever_the_limits(open, expected);
    any_position_leads_to_the_same_rest(open, expected);
    the_end_is_final(open, expected);
}

fn poll(source: &mut dyn Source, records: usize, bytes: usize) -> (Polled, Vec<Seen>) {
    let mut out = RawBatch::new(millstream_core::TaskId::new(0));
    out.push(999, 0, None, Some(b"what was there before"), &[]);
    let polled = source.poll(PollLimit { records, bytes }, &mut out).unwrap();
    let mut got = seen(&out);
    got.remove(0);
    assert!(got.len() <= records, "more records than the limit");
    let before_last: usize = got.iter().rev().skip(1).map(|(_, value)| value.len()).sum();
    assert!(got.is_empty() || before_last < bytes, "goes on after the record that reached the limit of bytes");
    assert_eq!(polled == Polled::Records, !got.is_empty());
    if matches!(polled, Polled::CaughtUp | Polled::Waiting) {
        // What comes from a network comes later.
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    (polled, got)
}

fn in_order_whatever_the_limits(open: &dyn Fn() -> Box<dyn Source>, expected: &[Seen]) {
    for (records, bytes) in
        [(1, 1 << 20), (2, 1 << 20), (7, 1 << 20), (usize::MAX, usize::MAX), (usize::MAX, 1), (1000, 50)]
    {
        let mut source = open();
        let mut all = Vec::new();
        loop {
            let before = source.position();
            let (polled, got) = poll(source.as_mut(), records, bytes);
            match polled {
                Polled::Records => {
                    assert!(got.iter().all(|(offset, _)| *offset >= before.offset));
                    assert!(got.last().unwrap().0 < source.position().offset);
                }
                Polled::CaughtUp | Polled::Waiting => continue,
                Polled::End => break,
            }
            all.extend(got);
            if let Some(fraction) = source.fraction_read() {
                assert!((0.0..=1.0).contains(&fraction), "{fraction}");
            }
        }
        assert_eq!(all, expected, "limits {records}, {bytes}");
        assert!(all.windows(2).all(|w| w[0].0 < w[1].0), "offsets rise");
        assert!(source.fraction_read().is_none_or(|f| f == 1.0));
        assert!(source.lag().is_none_or(|lag| lag == 0));
    }
}

fn any_position_leads_to_the_same_rest(open: &dyn Fn() -> Box<dyn Source>, expected: &[Seen]) {
    for step in [1, 3] {
        let mut source = open();
        let mut positions: Vec<(Position, usize)> = vec![(source.position(), 0)];
        let mut read = 0;
        loop {
            let (polled, got) = poll(source.as_mut(), step, usize::MAX);
            match polled {
                Polled::Records => {}
                Polled::CaughtUp | Polled::Waiting => continue,
                Polled::End => break,
            }
            read += got.len();
            positions.push((source.position(), read));
        }
        positions.push((source.position(), read));
        let mut same = open();
        for (position, read) in positions.iter().chain(positions.iter().rev()) {
            // In another process, and going to and fro in one.
            let mut other = open();
            for source in [&mut other, &mut same] {
                source.seek(position).unwrap();
                assert_eq!(source.position().offset, position.offset);
                let mut rest = Vec::new();
                loop {
                    let (polled, got) = poll(source.as_mut(), 100, usize::MAX);
                    if polled == Polled::End {
                        break;
                    }
                    rest.extend(got);
                }
                assert_eq!(rest, expected[*read..], "from {position:?}");
            }
        }
    }
}

fn the_end_is_final(open: &dyn Fn() -> Box<dyn Source>, expected: &[Seen]) {
    let mut source = open();
    let mut count = 0;
    loop {
        let (polled, got) = poll(source.as_mut(), 100, usize::MAX);
        if polled == Polled::End {
            break;
        }
        count += got.len();
    }
    assert_eq!(count, expected.len());
    let position = source.position();
    for _ in 0..3 {
        assert_eq!(poll(source.as_mut(), 100, usize::MAX).0, Polled::End);
        assert_eq!(source.position(), position);
    }
}
