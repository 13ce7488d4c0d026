//! Files to import, each read as every kind of file.

use goldbook_api::v1::{BatchRecordActivitiesRequest, ImportBalancesRequest, Program, Tier};

use super::lines::Line;
use super::{balances, purchases};

/// The openings of those lines of a file that are good.
pub(crate) fn read_import(file: &[u8]) -> Vec<ImportBalancesRequest> {
    let program = program();
    let purchases: Vec<Line<BatchRecordActivitiesRequest>> = purchases::fuzzing::read(file, &program);
    check_numbers(file, &purchases);
    let openings = balances::fuzzing::read(file, &program);
    check_numbers(file, &openings);
    openings.into_iter().filter_map(|(_, opening)| opening.ok()).collect()
}

fn program() -> Program {
    let tier = |tier_id: &str| Tier { tier_id: tier_id.to_owned(), ..Tier::default() };
    Program {
        program_id: "shop".to_owned(),
        currency_code: "USD".to_owned(),
        time_zone: "America/New_York".to_owned(),
        tiers: ["member", "gold"].map(tier).into(),
        ..Program::default()
    }
}

/// Lines are told by numbers that rise and that the file has.
fn check_numbers<T>(file: &[u8], lines: &[Line<T>]) {
    let numbers: Vec<u64> = lines.iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "the lines come as {numbers:?}");
    let last = file.split(|byte| *byte == b'\n').count();
    assert!(numbers.iter().all(|number| usize::try_from(*number).is_ok_and(|number| (1..=last).contains(&number))));
}
