//! By when something has to be done: weekends, changes of the clock, holidays, pauses, reopening, priorities and more time.

use goldbook::proto;
use tonic::Code;

use super::{
    acknowledge, business_days, complaining_shop, get, opening, reopen, resolve, send_opening, start, step, update,
};
use crate::harness::{SHOP, assert_refused, at};

/// What happens to a complaint, and when.
#[derive(Clone, Copy, Debug)]
enum Step {
    Wait,
    GoOn,
    Extend,
    Priority(proto::ComplaintPriority),
    Category(&'static str),
    Acknowledge,
    Answer,
    Resolve,
    Reopen,
}

/// A complaint that is received and goes on so, and its deadlines then: acknowledgement, answer, resolution.
struct Case {
    why: &'static str,
    received: &'static str,
    category: &'static str,
    high: bool,
    steps: &'static [(&'static str, Step)],
    deadlines: [&'static str; 3],
}

const NEVER: &str = "";

use proto::ComplaintPriority::{High, Low};

/// In New York; from Monday to Friday, 9 to 17, which is 14 to 22 UTC in winter and 13 to 21 in summer.
const CASES: &[Case] = &[
    Case {
        why: "day zero is that of the start, so a Friday's complaint has until Monday, 5 and 15 business days",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[],
        deadlines: ["2026-02-09T22:00:00Z", "2026-02-13T22:00:00Z", "2026-02-27T22:00:00Z"],
    },
    Case {
        why: "one that comes on a weekend begins to count with Monday",
        received: "2026-02-07T16:00:00Z",
        category: "",
        high: false,
        steps: &[],
        deadlines: ["2026-02-09T22:00:00Z", "2026-02-13T22:00:00Z", "2026-02-27T22:00:00Z"],
    },
    Case {
        why: "hours are those of the business: the rest of Friday, and then of Monday",
        received: "2026-02-06T20:30:00Z",
        category: "",
        high: true,
        steps: &[],
        deadlines: ["2026-02-09T16:30:00Z", "2026-02-10T22:00:00Z", "2026-02-13T22:00:00Z"],
    },
    Case {
        why: "a holiday is no business day",
        received: "2026-01-16T20:30:00Z",
        category: "",
        high: true,
        steps: &[],
        deadlines: ["2026-01-20T16:30:00Z", "2026-01-21T22:00:00Z", "2026-01-26T22:00:00Z"],
    },
    Case {
        why: "the clocks go forward on 8 March: days end an hour earlier by UTC",
        received: "2026-03-06T21:00:00Z",
        category: "",
        high: true,
        steps: &[],
        deadlines: ["2026-03-09T16:00:00Z", "2026-03-10T21:00:00Z", "2026-03-13T21:00:00Z"],
    },
    Case {
        why: "claims have eight weeks of the calendar, over the change of the clocks",
        received: "2026-02-06T16:00:00Z",
        category: "claims",
        high: true,
        steps: &[],
        deadlines: [NEVER, NEVER, "2026-04-04T04:00:00Z"],
    },
    Case {
        why: "while one waits for the customer, nothing falls due",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-06T17:00:00Z", Step::Wait)],
        deadlines: [NEVER, NEVER, NEVER],
    },
    Case {
        why: "while one waits for the customer, nothing falls due by a higher priority either",
        received: "2026-02-09T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-02-09T15:10:00Z", Step::Acknowledge),
            ("2026-02-12T16:00:00Z", Step::Wait),
            ("2026-02-12T17:00:00Z", Step::Priority(High)),
        ],
        deadlines: [NEVER, NEVER, NEVER],
    },
    Case {
        why: "a deadline that was over by a higher priority is missed as the clock goes on",
        received: "2026-02-09T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-02-09T15:10:00Z", Step::Acknowledge),
            ("2026-02-12T16:00:00Z", Step::Wait),
            ("2026-02-12T17:00:00Z", Step::Priority(High)),
            ("2026-02-12T18:00:00Z", Step::GoOn),
            ("2026-02-12T18:10:00Z", Step::Answer),
        ],
        deadlines: [NEVER, NEVER, "2026-02-16T22:00:00Z"],
    },
    Case {
        why: "a priority that gives no more time leaves the deadline of all others",
        received: "2026-02-09T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-02-09T15:10:00Z", Step::Acknowledge),
            ("2026-02-09T15:20:00Z", Step::Answer),
            ("2026-02-09T15:30:00Z", Step::Extend),
            ("2026-02-09T15:40:00Z", Step::Priority(High)),
        ],
        deadlines: [NEVER, NEVER, "2026-02-16T22:00:00Z"],
    },
    Case {
        why: "a pause of an hour gains an hour of hours, and no day",
        received: "2026-02-09T15:00:00Z",
        category: "",
        high: true,
        steps: &[("2026-02-09T16:00:00Z", Step::Wait), ("2026-02-09T17:00:00Z", Step::GoOn)],
        deadlines: ["2026-02-09T20:00:00Z", "2026-02-11T22:00:00Z", "2026-02-16T22:00:00Z"],
    },
    Case {
        why: "a pause gains the business days whose ends it covers, and a holiday within it is none",
        received: "2026-01-15T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-01-15T15:10:00Z", Step::Acknowledge),
            ("2026-01-16T16:00:00Z", Step::Wait),
            ("2026-01-20T16:00:00Z", Step::GoOn),
        ],
        deadlines: [NEVER, "2026-01-26T22:00:00Z", "2026-02-09T22:00:00Z"],
    },
    Case {
        why: "several pauses add up",
        received: "2026-02-09T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-02-09T16:00:00Z", Step::Acknowledge),
            ("2026-02-10T16:00:00Z", Step::Wait),
            ("2026-02-11T16:00:00Z", Step::GoOn),
            ("2026-02-12T16:00:00Z", Step::Wait),
            ("2026-02-16T16:00:00Z", Step::GoOn),
        ],
        deadlines: [NEVER, "2026-02-19T22:00:00Z", "2026-03-05T22:00:00Z"],
    },
    Case {
        why: "more time counts from the same start: 35 business days instead of 15",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-09T16:00:00Z", Step::Extend)],
        deadlines: ["2026-02-09T22:00:00Z", "2026-02-13T22:00:00Z", "2026-03-27T21:00:00Z"],
    },
    Case {
        why: "a higher priority counts from the same start",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-06T17:00:00Z", Step::Priority(High))],
        deadlines: ["2026-02-06T20:00:00Z", "2026-02-10T22:00:00Z", "2026-02-13T22:00:00Z"],
    },
    Case {
        why: "a lower priority gives more time, but for what was missed",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: true,
        steps: &[("2026-02-06T21:00:00Z", Step::Priority(Low))],
        deadlines: [NEVER, "2026-02-13T22:00:00Z", "2026-02-27T22:00:00Z"],
    },
    Case {
        why: "another category has other deadlines",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-06T17:00:00Z", Step::Category("claims"))],
        deadlines: [NEVER, NEVER, "2026-04-04T04:00:00Z"],
    },
    Case {
        why: "what was told and answered is met",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-06T17:00:00Z", Step::Acknowledge), ("2026-02-06T18:00:00Z", Step::Answer)],
        deadlines: [NEVER, NEVER, "2026-02-27T22:00:00Z"],
    },
    Case {
        why: "what is resolved has no deadline",
        received: "2026-02-06T16:00:00Z",
        category: "",
        high: false,
        steps: &[("2026-02-06T17:00:00Z", Step::Resolve)],
        deadlines: [NEVER, NEVER, NEVER],
    },
    Case {
        why: "what is reopened counts as if it were received then, whatever was told, paused and extended before",
        received: "2026-01-15T15:00:00Z",
        category: "",
        high: false,
        steps: &[
            ("2026-01-15T15:10:00Z", Step::Acknowledge),
            ("2026-01-15T15:20:00Z", Step::Extend),
            ("2026-01-15T15:30:00Z", Step::Wait),
            ("2026-01-16T15:00:00Z", Step::Resolve),
            ("2026-02-06T16:00:00Z", Step::Reopen),
        ],
        deadlines: ["2026-02-09T22:00:00Z", "2026-02-13T22:00:00Z", "2026-02-27T22:00:00Z"],
    },
];

#[tokio::test]
async fn deadlines_are_counted_as_the_table_says() {
    let service = start().await;
    let mut cases: Vec<(usize, &Case)> = CASES.iter().enumerate().collect();
    // Each has a customer of its own, since an account's time never goes back.
    cases.sort_by_key(|(_, case)| case.received);
    for (i, case) in cases {
        let customer = format!("c-{i}");
        service.set_clock("2026-01-15T12:00:00Z");
        service.enrol(&customer).await;
        service.set_clock(case.received);
        let request = proto::OpenComplaintRequest {
            category_id: case.category.to_owned(),
            priority: if case.high { High.into() } else { 0 },
            ..opening(&customer, "open")
        };
        let opened = send_opening(&service, request).await.unwrap();
        for (n, (now, step)) in case.steps.iter().enumerate() {
            service.set_clock(now);
            let key = format!("{n}");
            let of = step!(UpdateComplaintRequest, opened, key.as_str());
            let done = match *step {
                Step::Wait => update(&service, proto::UpdateComplaintRequest { waiting: Some(true), ..of }).await,
                Step::GoOn => update(&service, proto::UpdateComplaintRequest { waiting: Some(false), ..of }).await,
                Step::Extend => update(&service, proto::UpdateComplaintRequest { extended: true, ..of }).await,
                Step::Answer => update(&service, proto::UpdateComplaintRequest { answered: true, ..of }).await,
                Step::Priority(priority) => {
                    update(&service, proto::UpdateComplaintRequest { priority: priority.into(), ..of }).await
                }
                Step::Category(category_id) => {
                    let category_id = category_id.to_owned();
                    update(&service, proto::UpdateComplaintRequest { category_id, ..of }).await
                }
                Step::Acknowledge => acknowledge(&service, &opened, &key).await,
                Step::Resolve => resolve(&service, &opened, &key).await,
                Step::Reopen => reopen(&service, &opened, &key).await,
            };
            done.unwrap_or_else(|status| panic!("{}: {step:?}: {status:?}", case.why));
        }
        let found = get(&service, &opened, None).await.unwrap();
        let expected = case.deadlines.map(|by| if by.is_empty() { None } else { Some(at(by)) });
        assert_eq!([found.acknowledge_by, found.answer_by, found.resolve_by], expected, "{}", case.why);
    }
}

#[tokio::test]
async fn the_version_in_force_as_the_clock_started_decides() {
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    // A new version is quicker, has no holidays, and no category any more.
    let mut quick = complaining_shop();
    let policy = quick.complaints.as_mut().unwrap();
    policy.categories.truncate(1);
    policy.special_days.clear();
    policy.deadlines = vec![proto::ComplaintDeadlines { resolution: business_days(1), ..Default::default() }];
    service.apply(quick).await.unwrap();
    let of = |key: &str| step!(UpdateComplaintRequest, opened, key);
    let raised =
        update(&service, proto::UpdateComplaintRequest { priority: High.into(), ..of("raise") }).await.unwrap();
    assert_eq!((raised.policy_version, raised.resolve_by), (1, Some(at("2026-01-23T22:00:00Z"))));
    let claims = proto::UpdateComplaintRequest { category_id: "claims".to_owned(), ..of("claims") };
    assert_eq!(update(&service, claims).await.unwrap().resolve_by, Some(at("2026-03-13T04:00:00Z")));
    resolve(&service, &opened, "resolve").await.unwrap();
    let reopened = reopen(&service, &opened, "reopen").await.unwrap();
    assert_eq!((reopened.policy_version, reopened.resolve_by), (2, Some(at("2026-01-16T22:00:00Z"))));
    assert_eq!((reopened.reopened, reopened.category_id.as_str()), (1, "claims"));
    let claims = proto::UpdateComplaintRequest { category_id: "claims".to_owned(), ..of("again") };
    assert_refused(update(&service, claims).await, Code::NotFound, "COMPLAINT_CATEGORY_NOT_FOUND");
    // A program that says nothing of complaints takes them, without deadlines.
    service.apply(proto::Program { complaints: None, ..complaining_shop() }).await.unwrap();
    let plain = send_opening(&service, opening("anna", "plain")).await.unwrap();
    assert_eq!((plain.acknowledge_by, plain.answer_by, plain.resolve_by), (None, None, None));
    assert_eq!(SHOP, "shop");
}

#[tokio::test]
async fn a_letter_counts_from_the_day_on_which_it_was_received() {
    let service = start().await;
    service.set_clock("2026-02-12T15:00:00Z");
    let request =
        proto::OpenComplaintRequest { received_at: Some(at("2026-02-06T16:00:00Z")), ..opening("anna", "letter") };
    let opened = send_opening(&service, request).await.unwrap();
    // By then the acknowledgement was late already, which the first answer tells as all others do, before and after it is written.
    let found = get(&service, &opened, None).await.unwrap();
    let untold = proto::Complaint { text: String::new(), steps: Vec::new(), ..found.clone() };
    assert_eq!((&opened, opened.late_since), (&untold, Some(at("2026-02-12T15:00:00Z"))));
    assert_eq!(found.received_at, Some(at("2026-02-06T16:00:00Z")));
    assert_eq!(found.state(), proto::ComplaintState::Escalated);
    assert_eq!(found.missed, [i32::from(proto::ComplaintDeadline::Acknowledgement)]);
    assert_eq!((found.acknowledge_by, found.answer_by), (None, Some(at("2026-02-13T22:00:00Z"))));
    service.set_clock("2026-02-12T15:10:00Z");
    acknowledge(&service, &opened, "ack").await.unwrap();
    let then = get(&service, &opened, Some("2026-02-12T15:00:00Z")).await.unwrap();
    let written = |mut found: proto::Complaint| {
        found.steps.iter_mut().for_each(|step| step.entry_id.clear());
        found
    };
    assert_eq!(written(then), written(found));
    crate::audit::assert_clean(&service.database).await;
}

#[tokio::test]
async fn more_time_comes_too_late_for_what_was_not_resolved_in_time() {
    let service = start().await;
    let opened = send_opening(&service, opening("anna", "open")).await.unwrap();
    service.set_clock("2026-02-06T22:00:00Z");
    let extended = update(&service, step!(UpdateComplaintRequest, opened, "more", extended: true)).await;
    assert_refused(extended, Code::FailedPrecondition, "COMPLAINT_STATE");
    assert!(!get(&service, &opened, None).await.unwrap().extended);
}

#[tokio::test]
async fn a_clock_that_goes_back_refuses_no_complaint_and_hides_none() {
    let service = start().await;
    service.set_clock("2026-01-15T15:00:00Z");
    let first = send_opening(&service, opening("anna", "first")).await.unwrap();
    service.set_clock("2026-01-15T14:00:00Z");
    assert_eq!(get(&service, &first, None).await.unwrap().steps.len(), 1);
    let second = send_opening(&service, opening("anna", "second")).await.unwrap();
    assert_eq!(second.received_at, Some(at("2026-01-15T15:00:00Z")));
    acknowledge(&service, &first, "acknowledge").await.unwrap();
    assert_eq!(get(&service, &first, None).await.unwrap().steps.len(), 2);
    crate::audit::assert_clean(&service.database).await;
}
