//! The seeded source of card transactions behind `millstream generate fraud`.
//!
//! A pure function of its options: the same seed gives the same bytes on every platform and in every later
//! version, so examples, tests and benchmarks may lean on them. Therefore nothing here calls the platform's
//! `exp` or `ln`, whose last bits differ between systems; the few functions needed stand below, made of
//! operations that IEEE 754 defines exactly. Events are written one at a time: a shorter run is a prefix of a
//! longer one with the same seed.
//!
//! The shape of the data: cards and merchants are drawn by a Zipf law, every card has its own level of
//! spending, one amount in a hundred is a spike, events follow a Poisson process in event time from
//! 2025-06-02T08:00:00Z on, and one event in a hundred comes up to 2,990 ms late: `lateness: 3s` loses none.

use std::fmt::Write as _;
use std::io::{self, Write};

/// 2025-06-02T08:00:00Z.
const START_MS: f64 = 1_748_851_200_000.0;
const OUT_OF_ORDER_FRACTION: f64 = 0.01;
const OUT_OF_ORDER_MAX_MS: u64 = 2_990;
const SPIKE_FRACTION: f64 = 0.01;
const CATEGORIES: [&str; 7] = ["grocery", "travel", "fuel", "online", "gambling", "jewelry", "other"];
const CURRENCIES: [(&str, f64); 4] = [("EUR", 0.6), ("USD", 0.25), ("GBP", 0.1), ("CHF", 0.05)];
const CHANNELS: [(&str, f64); 4] = [("pos", 0.55), ("ecom", 0.35), ("atm", 0.08), ("moto", 0.02)];

/// What to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct FraudOptions {
    /// How many events.
    pub events: u64,
    /// Everything follows from it.
    pub seed: u64,
    /// Events per second of event time, on average; more than 0.
    pub rate: f64,
    /// How many cards there are; at least 1.
    pub cards: u32,
    /// How many merchants there are; at least 1.
    pub merchants: u32,
    /// How unevenly cards and merchants are used: 0 is evenly.
    pub zipf: f64,
    /// The fraction of events made unusable (0 to 1): cut short, mistyped, incomplete, negative, not JSON at all.
    /// The other events are the same whatever this is.
    pub bad_fraction: f64,
}

impl Default for FraudOptions {
    fn default() -> Self {
        Self { events: 100_000, seed: 1, rate: 100.0, cards: 50_000, merchants: 2_000, zipf: 0.8, bad_fraction: 0.0 }
    }
}

impl FraudOptions {
    fn check(&self) -> io::Result<()> {
        let problem = if self.cards == 0 {
            "`cards` is 0, at least 1 is needed"
        } else if self.merchants == 0 {
            "`merchants` is 0, at least 1 is needed"
        } else if !(self.rate.is_finite() && self.rate > 0.0) {
            "`rate` must be a number above 0 (events per second of event time)"
        } else if !(0.0..=10.0).contains(&self.zipf) {
            "`zipf` must be between 0 and 10"
        } else if !(0.0..=1.0).contains(&self.bad_fraction) {
            "`bad-fraction` must be between 0 and 1"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, problem))
    }
}

/// Writes `options.events` transactions, one JSON object a line.
///
/// # Errors
/// An option is out of range (`InvalidInput`), or `out` can't be written.
pub fn generate_fraud(options: &FraudOptions, out: &mut dyn Write) -> io::Result<()> {
    options.check()?;
    let mut stream = Transactions::new(options);
    let mut line = String::with_capacity(256);
    for number in 0..options.events {
        line.clear();
        stream.write_next(number, &mut line);
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}

/// Writes the merchants that the transactions of the same options refer to, as CSV with a header.
///
/// # Errors
/// An option is out of range (`InvalidInput`), or `out` can't be written.
pub fn generate_merchants(options: &FraudOptions, out: &mut dyn Write) -> io::Result<()> {
    options.check()?;
    let mut random = Random::stream(options.seed, Stream::Merchants);
    out.write_all(b"merchant_id,category,risk\n")?;
    for merchant in 0..options.merchants {
        let category = CATEGORIES.get(random.below(CATEGORIES.len() as u64) as usize).copied().unwrap_or("other");
        let (a, b) = (random.gamma(1.5), random.gamma(8.0));
        writeln!(out, "m{merchant:04},{category},{:.4}", a / (a + b))?;
    }
    out.flush()
}

/// A card's own habits.
#[derive(Clone, Copy)]
struct Card {
    amount: f64,
    latitude: f64,
    longitude: f64,
}

struct Transactions {
    cards: Vec<Card>,
    card_choice: Zipf,
    merchant_choice: Zipf,
    events: Random,
    bad: Random,
    bad_fraction: f64,
    gap_ms: f64,
    clock_ms: f64,
}

impl Transactions {
    fn new(options: &FraudOptions) -> Self {
        let mut random = Random::stream(options.seed, Stream::Cards);
        let card_choice = Zipf::new(options.cards, options.zipf, &mut random);
        let cards = (0..options.cards)
            .map(|_| Card {
                amount: exp(3.2 + 0.6 * random.normal()),
                latitude: 35.0 + 25.0 * random.unit(),
                longitude: -10.0 + 40.0 * random.unit(),
            })
            .collect();
        Self {
            cards,
            card_choice,
            merchant_choice: Zipf::new(options.merchants, options.zipf, &mut random),
            events: Random::stream(options.seed, Stream::Events),
            bad: Random::stream(options.seed, Stream::Bad),
            bad_fraction: options.bad_fraction,
            gap_ms: 1000.0 / options.rate,
            clock_ms: START_MS,
        }
    }

    fn write_next(&mut self, number: u64, line: &mut String) {
        let random = &mut self.events;
        let card_id = self.card_choice.draw(random);
        let merchant_id = self.merchant_choice.draw(random);
        let card =
            self.cards.get(card_id as usize).copied().unwrap_or(Card { amount: 1.0, latitude: 0.0, longitude: 0.0 });
        let mut amount = card.amount * exp(0.8 * random.normal());
        if random.unit() < SPIKE_FRACTION {
            amount *= 4.0 + 16.0 * random.unit();
        }
        let amount = amount.max(0.01);
        let currency = random.choose(&CURRENCIES);
        let channel = random.choose(&CHANNELS);
        let latitude = card.latitude + 0.2 * random.normal();
        let longitude = card.longitude + 0.2 * random.normal();
        self.clock_ms -= self.gap_ms * ln(1.0 - random.unit());
        let mut time = self.clock_ms as i64;
        if random.unit() < OUT_OF_ORDER_FRACTION {
            time -= 1 + random.below(OUT_OF_ORDER_MAX_MS) as i64;
        }
        let flaw = (self.bad.unit() < self.bad_fraction).then(|| self.bad.below(5));
        // Writing to a String cannot fail.
        let _ = match flaw {
            Some(0) => writeln!(line, r#"{{"transaction_id":"t{number:07}","card_id":"c{card_id:05}","merch"#),
            Some(1) => writeln!(line, "-- connection reset by peer --"),
            other => {
                let card = if other == Some(2) { "null".to_owned() } else { format!(r#""c{card_id:05}""#) };
                let amount = match other {
                    Some(3) => format!(r#""{amount:.2} EUR""#),
                    Some(_) if other == Some(4) => format!("-{amount:.2}"),
                    _ => format!("{amount:.2}"),
                };
                writeln!(
                    line,
                    r#"{{"transaction_id":"t{number:07}","card_id":{card},"merchant_id":"m{merchant_id:04}","amount":{amount},"currency":"{currency}","lat":{latitude:.5},"lon":{longitude:.5},"channel":"{channel}","event_time":{time}}}"#,
                )
            }
        };
    }
}

/// Draws `0..n` with probabilities that fall as `1 / rank^s`, ranks being dealt out at random.
struct Zipf {
    cumulative: Vec<f64>,
    ids: Vec<u32>,
}

impl Zipf {
    fn new(n: u32, s: f64, random: &mut Random) -> Self {
        let mut ids: Vec<u32> = (0..n).collect();
        for last in (1..ids.len()).rev() {
            ids.swap(last, random.below(last as u64 + 1) as usize);
        }
        let mut total = 0.0;
        let cumulative = (1..=n)
            .map(|rank| {
                total += exp(-s * ln(f64::from(rank)));
                total
            })
            .collect();
        Self { cumulative, ids }
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let total = self.cumulative.last().copied().unwrap_or(0.0);
        let target = random.unit() * total;
        let rank = self.cumulative.partition_point(|&c| c <= target).min(self.ids.len().saturating_sub(1));
        self.ids.get(rank).copied().unwrap_or(0)
    }
}

/// What a stream of random numbers is for: streams of one seed are independent, so that asking for more of one
/// thing changes nothing else.
#[derive(Clone, Copy)]
enum Stream {
    Cards = 1,
    Events = 2,
    Merchants = 3,
    Bad = 4,
}

/// xoshiro256++ (Blackman and Vigna), seeded through splitmix64. Written out here because its numbers must never change.
struct Random {
    state: [u64; 4],
    spare_normal: Option<f64>,
}

impl Random {
    fn stream(seed: u64, stream: Stream) -> Self {
        let mut x = seed ^ (stream as u64).wrapping_mul(0xA076_1D64_78BD_642F);
        let state = std::array::from_fn(|_| {
            x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let z = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^ (z >> 31)
        });
        Self { state, spare_normal: None }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        self.state = [a ^ d, b ^ c, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in `[0, 1)`.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in `0..n`, up to a bias of `n / 2^64`.
    fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    fn choose(&mut self, weighted: &[(&'static str, f64)]) -> &'static str {
        let mut rest = self.unit();
        for (name, weight) in weighted {
            rest -= weight;
            if rest < 0.0 {
                return name;
            }
        }
        weighted.last().map_or("", |(name, _)| name)
    }

    /// Standard normal, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare_normal.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let r = x * x + y * y;
            if r > 0.0 && r < 1.0 {
                let scale = (-2.0 * ln(r) / r).sqrt();
                self.spare_normal = Some(y * scale);
                return x * scale;
            }
        }
    }

    /// Gamma of scale 1 and a shape of at least 1, by Marsaglia and Tsang's method.
    fn gamma(&mut self, shape: f64) -> f64 {
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let root = 1.0 + c * x;
            let v = root * root * root;
            if v > 0.0 && ln(1.0 - self.unit()) < 0.5 * x * x + d - d * v + d * ln(v) {
                return d * v;
            }
        }
    }
}

/// The natural logarithm of a positive, normal number; the same bits everywhere.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | (1023 << 52));
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), and the argument is below 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

/// e to the power `x`, for `x` between -700 and 700; the same bits everywhere.
fn exp(x: f64) -> f64 {
    let power = (x * std::f64::consts::LOG2_E).round();
    let rest = x - power * std::f64::consts::LN_2;
    let series = (1..=15).rev().fold(1.0, |sum, k| 1.0 + sum * rest / f64::from(k));
    series * f64::from_bits(((power as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(options: &FraudOptions) -> String {
        let mut out = Vec::new();
        generate_fraud(options, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn fnv1a(bytes: &[u8]) -> u64 {
        bytes.iter().fold(0xCBF2_9CE4_8422_2325, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01B3))
    }

    #[test]
    fn own_functions_agree_with_the_platform() {
        for i in 1..2000 {
            let x = f64::from(i) * 0.37;
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs().max(1.0), "ln {x}");
            let y = f64::from(i - 1000) * 0.05;
            assert!((exp(y) / y.exp() - 1.0).abs() < 1e-14, "exp {y}");
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn the_bytes_never_change() {
        let all = text(&FraudOptions { events: 10_000, ..FraudOptions::default() });
        assert_eq!(all.lines().next().unwrap(), GOLDEN_FIRST);
        assert_eq!(fnv1a(all.as_bytes()), GOLDEN_EVENTS);
        let mut merchants = Vec::new();
        generate_merchants(&FraudOptions::default(), &mut merchants).unwrap();
        assert_eq!(fnv1a(&merchants), GOLDEN_MERCHANTS);
    }

    const GOLDEN_FIRST: &str = r#"{"transaction_id":"t0000000","card_id":"c00538","merchant_id":"m1890","amount":3.87,"currency":"EUR","lat":47.53405,"lon":15.85445,"channel":"ecom","event_time":1748851200003}"#;
    const GOLDEN_EVENTS: u64 = 0xC4E7_BD37_14BB_912A;
    const GOLDEN_MERCHANTS: u64 = 0xEF3A_11AA_EFEA_5B24;

    #[test]
    fn a_shorter_run_is_a_prefix_of_a_longer_one() {
        let options = FraudOptions { events: 500, seed: 7, ..FraudOptions::default() };
        let long = text(&FraudOptions { events: 2_000, ..options.clone() });
        assert!(long.starts_with(&text(&options)));
    }

    #[test]
    fn bad_events_leave_the_good_ones_alone() {
        let options = FraudOptions { events: 5_000, seed: 3, ..FraudOptions::default() };
        let good = text(&options);
        let mixed = text(&FraudOptions { bad_fraction: 0.02, ..options });
        let differ = good.lines().zip(mixed.lines()).filter(|(a, b)| a != b).count();
        assert_eq!(mixed.lines().count(), 5_000);
        assert!((60..140).contains(&differ), "{differ} bad events");
    }

    #[test]
    fn lateness_of_three_seconds_loses_nothing() {
        let mut greatest = i64::MIN;
        for line in text(&FraudOptions { events: 20_000, ..FraudOptions::default() }).lines() {
            let time: i64 = line.rsplit_once(':').unwrap().1.trim_end_matches('}').parse().unwrap();
            assert!(time >= greatest.saturating_sub(3_000), "{line}");
            greatest = greatest.max(time);
        }
    }

    #[test]
    fn options_out_of_range_are_refused() {
        let base = FraudOptions::default;
        for bad in [
            FraudOptions { cards: 0, ..base() },
            FraudOptions { merchants: 0, ..base() },
            FraudOptions { rate: 0.0, ..base() },
            FraudOptions { rate: f64::NAN, ..base() },
            FraudOptions { zipf: -1.0, ..base() },
            FraudOptions { bad_fraction: 1.5, ..base() },
        ] {
            let error = generate_fraud(&bad, &mut Vec::new()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{bad:?}");
        }
    }
}
