//! Random runs that can be repeated: every test of the interface that chooses at random has its choices from here.
//!
//! A case is one seed, and all of its choices follow from the seed. The first case has `PROPTEST_RNG_SEED`, which
//! `.cargo/config.toml` sets, and each further case has the next number. `make explore` sets other seeds; it runs the
//! tests whose names begin with `random_`.

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

/// The first seed where cargo has not set one.
const FIRST_SEED: u64 = 1;

/// A generator of numbers that need not be good, only the same each time (xorshift64*).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn of_seed(seed: u64) -> Self {
        // Never zero, and unlike its neighbours'.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// From zero up to, and not including, `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// One of these.
    pub(crate) fn one_of<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        &things[self.below(things.len() as u64) as usize]
    }
}

/// A number that the environment may set.
pub(crate) fn number_from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

pub(crate) fn first_seed() -> u64 {
    number_from_environment("PROPTEST_RNG_SEED").unwrap_or(FIRST_SEED)
}

/// The path of the test that asks.
fn test_path() -> String {
    std::thread::current().name().unwrap_or_default().to_owned()
}

/// The cases of the test that asks, unless the environment wants another number of them.
pub(crate) fn cases(usual: u64) -> impl Iterator<Item = Case> {
    let test = test_path();
    let name = test.rsplit("::").next().unwrap();
    assert!(name.starts_with("random_"), "{test} is not run by `make explore`: its name must begin with random_");
    let count = number_from_environment("PROPTEST_CASES").unwrap_or(usual);
    let first = first_seed();
    (0..count).map(move |place| Case { seed: first.wrapping_add(place) })
}

/// One case of a test. A test that fails while it has one says how to repeat it.
pub(crate) struct Case {
    pub seed: u64,
}

impl Drop for Case {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, test) = (self.seed, test_path());
            println!("repeat with: PROPTEST_RNG_SEED={seed} PROPTEST_CASES=1 cargo test --locked --test api {test}");
        }
    }
}

/// Asserts that a property holds of random values. A failure prints the value after it was made as small as possible, in
/// a form that is ready to become a test of its own.
pub(crate) fn assert_always<S: Strategy>(
    usual_cases: u64,
    max_shrink_iters: u32,
    values: &S,
    property: impl AsyncFn(S::Value) -> Result<(), TestCaseError>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    for case in cases(usual_cases) {
        let config = Config {
            cases: 1,
            rng_seed: RngSeed::Fixed(case.seed),
            max_shrink_iters,
            failure_persistence: None,
            ..Config::default()
        };
        match TestRunner::new(config).run(values, |value| runtime.block_on(property(value))) {
            Ok(()) => {}
            Err(TestError::Fail(reason, value)) => panic!("{reason}\nthe value: {value:?}"),
            Err(TestError::Abort(reason)) => panic!("{reason}"),
        }
    }
}

#[test]
fn cargo_sets_the_seed_of_the_properties_among_the_unit_tests() {
    assert!(number_from_environment("PROPTEST_RNG_SEED").is_some(), "these tests are run by cargo");
}
