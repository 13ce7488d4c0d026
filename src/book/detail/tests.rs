//! The JSON of details: what is on the ledger stays readable and provable.

use std::collections::BTreeSet;

use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::ids::{AccountId, EntryId};
use crate::money::Rate;

fn read(json: &str) -> Result<Detail, String> {
    Detail::from_json(json).map_err(|error| error.to_string())
}

fn all_kinds() -> BTreeSet<&'static str> {
    let rooms = [
        ProgramDetail::VARIANTS,
        CustomerDetail::VARIANTS,
        ActivityDetail::VARIANTS,
        PointsDetail::VARIANTS,
        TierDetail::VARIANTS,
        BenefitDetail::VARIANTS,
        ReferralDetail::VARIANTS,
        ComplaintDetail::VARIANTS,
        GoodwillDetail::VARIANTS,
        LifecycleDetail::VARIANTS,
        ValueDetail::VARIANTS,
    ];
    let kinds: BTreeSet<&str> = rooms.concat().into_iter().collect();
    assert_eq!(kinds.len(), rooms.concat().len(), "two kinds have one name");
    kinds
}

fn value_model(at: Timestamp, day: jiff::civil::Date) -> ValueModel {
    let figure = |number| Figure::new(number).unwrap();
    ValueModel {
        version: 2,
        from: Some(day),
        until: day,
        as_of: at,
        customers: 9,
        repeat_buyers: 5,
        purchases: PurchaseParameters {
            r: figure(0.5),
            alpha: figure(4.0),
            a: figure(0.25),
            b: figure(2.0),
            log_likelihood: figure(-9.5),
        },
        spend: Some(SpendParameters {
            p: figure(6.25),
            q: figure(3.0),
            gamma: figure(15.0),
            log_likelihood: figure(-8.0),
            customers: 5,
        }),
        holdout: Some(Holdout { days: 7, bought: 3, expected: figure(2.5), mean_error: figure(0.125) }),
        horizon_days: 365,
        discount: figure(0.1),
    }
}

fn classification(day: jiff::civil::Date) -> Classification {
    let other = ClassedCount {
        class_id: "other".try_into().unwrap(),
        from: None,
        keep: None,
        customers: 7,
        margin: -3,
        level: None,
    };
    let (class_id, level) = ("key".try_into().unwrap(), Some(RelationshipLevel::Partner));
    let key = ClassedCount { class_id, from: Some(500), keep: Some(400), customers: 2, margin: 900, level };
    Classification {
        from: day,
        until: day,
        measure: ValueMeasure::ExpectedValue,
        model_version: Some(2),
        ranked: 9,
        classes: vec![key, other],
    }
}

#[test]
fn a_detail_reads_back_from_json_with_its_kind() {
    let detail: Detail = TierDetail::TierChanged {
        from: None,
        to: "gold".try_into().unwrap(),
        hidden: None,
        qualifying_spend: 50_000,
        change: None,
        enrolled_on: None,
        former_ends_at: None,
        earned: None,
        package_id: None,
        outlook: Outlook::default(),
    }
    .into();
    let json = detail.to_json().unwrap();
    assert_eq!(json, r#"{"kind":"tier_changed","from":null,"to":"gold","qualifying_spend":50000}"#);
    assert_eq!(read(&json).unwrap(), detail);
}

/// What is on the ledger stays provable: the JSON of a detail never changes under rows that exist. A new field is
/// optional and absent here.
#[test]
#[expect(clippy::too_many_lines, reason = "one line for each kind")]
fn what_was_written_by_this_version_keeps_its_form() {
    let day = jiff::civil::date(2026, 1, 15);
    let account_id = AccountId(Uuid::from_u128(7));
    let id = EntryId { account_id, account_seq: 3 };
    let at = Timestamp::UNIX_EPOCH;
    let part = LotPart { lot: 3, points: 8 };
    let counts = UseCounts {
        day,
        tier_period: 9,
        in_tier_period: 3,
        in_month: 4,
        in_quarter: 5,
        in_half: 6,
        in_year: 7,
        in_all: 8,
    };
    let answered = Some(Answered { answer: 4, at });
    let position = Position { stage: Stage::FirstTime, satisfaction: None, loyalty: None, brands: None };
    let given = GivenCounts { day, in_day: 1, in_week: 2, in_month: 3, in_quarter: 4, in_half: 5, in_year: 6 };
    let details: &[(Detail, &str)] = &[
        (
            ProgramDetail::ProgramApplied { version: 1, effective_from: None }.into(),
            r#"{"kind":"program_applied","version":1}"#,
        ),
        (
            ProgramDetail::ProgramApplied { version: 2, effective_from: Some(at) }.into(),
            r#"{"kind":"program_applied","version":2,"effective_from":"1970-01-01T00:00:00Z"}"#,
        ),
        (CustomerDetail::CustomerEnrolled.into(), r#"{"kind":"customer_enrolled"}"#),
        (CustomerDetail::DossierUpdated { revision: 2 }.into(), r#"{"kind":"dossier_updated","revision":2}"#),
        (CustomerDetail::CustomerExported.into(), r#"{"kind":"customer_exported"}"#),
        (
            CustomerDetail::CustomerErased { why: ErasureReason::CustomerRequest }.into(),
            r#"{"kind":"customer_erased","why":"customer_request"}"#,
        ),
        (CustomerDetail::DossierErased { revision: 2 }.into(), r#"{"kind":"dossier_erased","revision":2}"#),
        (CustomerDetail::NotesErased.into(), r#"{"kind":"notes_erased"}"#),
        (
            ProgramDetail::EntriesExported { from: None, until: Some(at) }.into(),
            r#"{"kind":"entries_exported","until":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            ProgramDetail::ReevaluationOrdered { downgrades: DowngradeTime::AtOwnEnd }.into(),
            r#"{"kind":"reevaluation_ordered","downgrades":"at_own_end"}"#,
        ),
        (
            ProgramDetail::ValueModelFitted { model: Box::new(value_model(at, day)) }.into(),
            r#"{"kind":"value_model_fitted","version":2,"from":"2026-01-15","until":"2026-01-15","as_of":"1970-01-01T00:00:00Z","customers":9,"repeat_buyers":5,"purchases":{"r":"0.5","alpha":"4","a":"0.25","b":"2","log_likelihood":"-9.5"},"spend":{"p":"6.25","q":"3","gamma":"15","log_likelihood":"-8","customers":5},"holdout":{"days":7,"bought":3,"expected":"2.5","mean_error":"0.125"},"horizon_days":365,"discount":"0.1"}"#,
        ),
        (
            ProgramDetail::CustomersClassed { classification: Box::new(classification(day)) }.into(),
            r#"{"kind":"customers_classed","from":"2026-01-15","until":"2026-01-15","measure":"expected_value","model_version":2,"ranked":9,"classes":[{"class_id":"key","from":500,"keep":400,"customers":2,"margin":900,"level":"partner"},{"class_id":"other","customers":7,"margin":-3}]}"#,
        ),
        (PointsDetail::PointsForfeited.into(), r#"{"kind":"points_forfeited"}"#),
        (
            ActivityDetail::ActivityAccepted {
                spend: 5,
                happened_at: Timestamp::UNIX_EPOCH,
                slides_to: None,
                uncapped: None,
                multiplied: None,
                counts: None,
            }
            .into(),
            r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            ActivityDetail::ActivityAccepted {
                spend: 5,
                happened_at: at,
                slides_to: Some(at),
                uncapped: Some(7),
                multiplied: None,
                counts: None,
            }
            .into(),
            r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z","slides_to":"1970-01-01T00:00:00Z","uncapped":7}"#,
        ),
        (
            ActivityDetail::ActivityAccepted {
                spend: 5,
                happened_at: at,
                slides_to: None,
                uncapped: None,
                multiplied: Some(Multiplied {
                    tier_id: "gold".try_into().unwrap(),
                    by: Rate::parse("1.5").unwrap(),
                    from: 4,
                }),
                counts: None,
            }
            .into(),
            r#"{"kind":"activity_accepted","spend":5,"happened_at":"1970-01-01T00:00:00Z","multiplied":{"tier_id":"gold","by":"1.5","from":4}}"#,
        ),
        (
            PointsDetail::PointsGranted { terms: LotTerms::default(), counted_in: Vec::new(), uncapped: None }.into(),
            r#"{"kind":"points_granted"}"#,
        ),
        (
            TierDetail::TierChanged {
                from: Some("a".try_into().unwrap()),
                to: "b".try_into().unwrap(),
                hidden: None,
                qualifying_spend: 7,
                change: None,
                enrolled_on: None,
                former_ends_at: None,
                earned: None,
                package_id: None,
                outlook: Outlook::default(),
            }
            .into(),
            r#"{"kind":"tier_changed","from":"a","to":"b","qualifying_spend":7}"#,
        ),
        (
            ReferralDetail::ReferralCodeCreated { campaign_id: "c".try_into().unwrap(), code: "D".try_into().unwrap() }
                .into(),
            r#"{"kind":"referral_code_created","campaign_id":"c","code":"D"}"#,
        ),
        (
            ReferralDetail::ReferralCreated {
                campaign_id: "c".try_into().unwrap(),
                referrer: account_id,
                expires_at: None,
            }
            .into(),
            r#"{"kind":"referral_created","campaign_id":"c","referrer":"00000000-0000-0000-0000-000000000007","expires_at":null}"#,
        ),
        (
            ReferralDetail::ReferralConverted {
                qualifying: Some(id),
                referrer_reward: None,
                referee_reward: None,
                referrer_withheld: None,
                referee_withheld: None,
            }
            .into(),
            r#"{"kind":"referral_converted","qualifying":"00000000000000000000000000000007.3","referrer_reward":null,"referee_reward":null}"#,
        ),
        (
            ReferralDetail::ReferralConverted {
                qualifying: None,
                referrer_reward: None,
                referee_reward: None,
                referrer_withheld: Some(5),
                referee_withheld: Some(6),
            }
            .into(),
            r#"{"kind":"referral_converted","qualifying":null,"referrer_reward":null,"referee_reward":null,"referrer_withheld":5,"referee_withheld":6}"#,
        ),
        (ReferralDetail::ReferralExpired.into(), r#"{"kind":"referral_expired"}"#),
        (
            BenefitDetail::BenefitUsed {
                benefit_id: "lounge".try_into().unwrap(),
                tier_id: Some("gold".try_into().unwrap()),
                granted: None,
                quantity: 1,
                companions: 2,
                counted: 3,
                counts,
                left: Some(4),
                resets_at: Some(at),
            }
            .into(),
            r#"{"kind":"benefit_used","benefit_id":"lounge","tier_id":"gold","quantity":1,"companions":2,"counted":3,"counts":{"day":"2026-01-15","tier_period":9,"in_tier_period":3,"in_month":4,"in_quarter":5,"in_half":6,"in_year":7,"in_all":8},"left":4,"resets_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            BenefitDetail::BenefitUsed {
                benefit_id: "lounge".try_into().unwrap(),
                tier_id: None,
                granted: Some(7),
                quantity: 1,
                companions: 0,
                counted: 1,
                counts,
                left: None,
                resets_at: None,
            }
            .into(),
            r#"{"kind":"benefit_used","benefit_id":"lounge","granted":7,"quantity":1,"counted":1,"counts":{"day":"2026-01-15","tier_period":9,"in_tier_period":3,"in_month":4,"in_quarter":5,"in_half":6,"in_year":7,"in_all":8}}"#,
        ),
        (
            BenefitDetail::EntitlementGranted {
                benefit_id: "lounge".try_into().unwrap(),
                tier_id: Some("gold".try_into().unwrap()),
                limit: Some(2),
                counts_companions: true,
                until: Some(at),
                package_id: None,
            }
            .into(),
            r#"{"kind":"entitlement_granted","benefit_id":"lounge","tier_id":"gold","limit":2,"counts_companions":true,"until":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            BenefitDetail::EntitlementGranted {
                benefit_id: "lounge".try_into().unwrap(),
                tier_id: None,
                limit: None,
                counts_companions: false,
                until: None,
                package_id: Some("p".try_into().unwrap()),
            }
            .into(),
            r#"{"kind":"entitlement_granted","benefit_id":"lounge","package_id":"p"}"#,
        ),
        (
            BenefitDetail::PackageGiven {
                package_id: "p".try_into().unwrap(),
                occasion: Occasion::TierReached,
                tier_id: Some("gold".try_into().unwrap()),
                tier_period: Some(4),
                year: None,
                withheld_points: 5,
                withheld_benefits: vec!["lounge".try_into().unwrap()],
            }
            .into(),
            r#"{"kind":"package_given","package_id":"p","occasion":"tier_reached","tier_id":"gold","tier_period":4,"withheld_points":5,"withheld_benefits":["lounge"]}"#,
        ),
        (
            BenefitDetail::PackageGiven {
                package_id: "p".try_into().unwrap(),
                occasion: Occasion::Birthday,
                tier_id: None,
                tier_period: None,
                year: Some(2026),
                withheld_points: 0,
                withheld_benefits: Vec::new(),
            }
            .into(),
            r#"{"kind":"package_given","package_id":"p","occasion":"birthday","year":2026}"#,
        ),
        (
            BenefitDetail::EntitlementRevoked { granted: 7, benefit_id: "lounge".try_into().unwrap() }.into(),
            r#"{"kind":"entitlement_revoked","granted":7,"benefit_id":"lounge"}"#,
        ),
        (
            BenefitDetail::BenefitUseReversed {
                used: 5,
                benefit_id: "lounge".try_into().unwrap(),
                granted: None,
                counted: 3,
                counts,
            }
            .into(),
            r#"{"kind":"benefit_use_reversed","used":5,"benefit_id":"lounge","counted":3,"counts":{"day":"2026-01-15","tier_period":9,"in_tier_period":3,"in_month":4,"in_quarter":5,"in_half":6,"in_year":7,"in_all":8}}"#,
        ),
        (
            ComplaintDetail::ComplaintOpened {
                category_id: None,
                priority: ComplaintPriority::Normal,
                channel: None,
                value_class_id: None,
                received_at: at,
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"complaint_opened","priority":"normal","received_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            ComplaintDetail::ComplaintOpened {
                category_id: Some("delivery".try_into().unwrap()),
                priority: ComplaintPriority::High,
                channel: Some(FeedbackChannel::Phone),
                value_class_id: Some("key".try_into().unwrap()),
                received_at: at,
                deadlines: Deadlines { acknowledge_by: Some(at), answer_by: Some(at), resolve_by: Some(at) },
            }
            .into(),
            r#"{"kind":"complaint_opened","category_id":"delivery","priority":"high","channel":"phone","value_class_id":"key","received_at":"1970-01-01T00:00:00Z","acknowledge_by":"1970-01-01T00:00:00Z","answer_by":"1970-01-01T00:00:00Z","resolve_by":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            ComplaintDetail::ComplaintAcknowledged {
                complaint: 3,
                state: ComplaintState::Acknowledged,
                took: 5,
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"complaint_acknowledged","complaint":3,"state":"acknowledged","took":5}"#,
        ),
        (
            ComplaintDetail::ComplaintUpdated {
                complaint: 3,
                state: ComplaintState::Waiting,
                change: ComplaintChange {
                    category_id: Some("delivery".try_into().unwrap()),
                    priority: Some(ComplaintPriority::Low),
                    answered: true,
                    took: Some(5),
                    waiting: Some(true),
                    extended: true,
                    handling_score: Some(4),
                },
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"complaint_updated","complaint":3,"state":"waiting","category_id":"delivery","priority":"low","answered":true,"took":5,"waiting":true,"extended":true,"handling_score":4}"#,
        ),
        (
            ComplaintDetail::ComplaintEscalated {
                complaint: 3,
                state: ComplaintState::Escalated,
                missed: Some(ComplaintDeadline::Answer),
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"complaint_escalated","complaint":3,"state":"escalated","missed":"answer"}"#,
        ),
        (
            ComplaintDetail::RemedyOffered {
                complaint: 3,
                state: ComplaintState::Offered,
                remedy: RemedyKind::Refund,
                value: Some(500),
                took: Some(5),
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"remedy_offered","complaint":3,"state":"offered","remedy":"refund","value":500,"took":5}"#,
        ),
        (
            ComplaintDetail::ComplaintResolved {
                complaint: 3,
                outcome: ComplaintOutcome::PartlyUpheld,
                handling_score: Some(4),
                took: 5,
            }
            .into(),
            r#"{"kind":"complaint_resolved","complaint":3,"outcome":"partly_upheld","handling_score":4,"took":5}"#,
        ),
        (
            ComplaintDetail::ComplaintReopened { complaint: 3, value_class_id: None, deadlines: Deadlines::default() }
                .into(),
            r#"{"kind":"complaint_reopened","complaint":3}"#,
        ),
        (
            ComplaintDetail::ComplaintReopened {
                complaint: 3,
                value_class_id: Some("key".try_into().unwrap()),
                deadlines: Deadlines::default(),
            }
            .into(),
            r#"{"kind":"complaint_reopened","complaint":3,"value_class_id":"key"}"#,
        ),
        (
            ValueDetail::ValueClassDecided {
                before: None,
                class_id: "key".try_into().unwrap(),
                until: day,
                level: None,
                measured: 5,
                ends_below: 0,
            }
            .into(),
            r#"{"kind":"value_class_decided","class_id":"key","until":"2026-01-15","measured":5}"#,
        ),
        (
            ValueDetail::ValueClassDecided {
                before: Some("key".try_into().unwrap()),
                class_id: "key".try_into().unwrap(),
                until: day,
                level: Some(RelationshipLevel::Partner),
                measured: -5,
                ends_below: 2,
            }
            .into(),
            r#"{"kind":"value_class_decided","before":"key","class_id":"key","until":"2026-01-15","level":"partner","measured":-5,"ends_below":2}"#,
        ),
        (
            GoodwillDetail::GoodwillGiven {
                value: 5,
                benefit_id: Some("a".try_into().unwrap()),
                complaint: Some(3),
                counts: given,
            }
            .into(),
            r#"{"kind":"goodwill_given","value":5,"benefit_id":"a","complaint":3,"counts":{"day":"2026-01-15","in_day":1,"in_week":2,"in_month":3,"in_quarter":4,"in_half":5,"in_year":6}}"#,
        ),
        (
            GoodwillDetail::GoodwillDrawn { value: 5, counts: given }.into(),
            r#"{"kind":"goodwill_drawn","value":5,"counts":{"day":"2026-01-15","in_day":1,"in_week":2,"in_month":3,"in_quarter":4,"in_half":5,"in_year":6}}"#,
        ),
        (
            LifecycleDetail::LifecycleDecided {
                before: None,
                to: position,
                by: Box::new(Facts { purchases: 1, spend: 5, ..Facts::default() }),
                silence: Silence::default(),
            }
            .into(),
            r#"{"kind":"lifecycle_decided","to":{"stage":"first_time"},"by":{"purchases":1,"spend":5},"silence":{}}"#,
        ),
        (
            LifecycleDetail::LifecycleDecided {
                before: Some(position),
                to: Position {
                    stage: Stage::WonBack,
                    satisfaction: Some(SatisfactionClass::Apostle),
                    loyalty: Some(LoyaltyClass::TrueLoyalty),
                    brands: Some(BrandClass::ManyBrand),
                },
                by: Box::new(Facts {
                    purchases: 1,
                    spend: 5,
                    referrals: 2,
                    last_purchase_at: Some(at),
                    satisfaction: answered,
                    recommendation: answered,
                    involvement: answered,
                    brands: answered,
                    open_complaints: 3,
                }),
                silence: Silence { rare: Some(1), at_risk: Some(2), lapsed: Some(3), lost: Some(4) },
            }
            .into(),
            r#"{"kind":"lifecycle_decided","before":{"stage":"first_time"},"to":{"stage":"won_back","satisfaction":"apostle","loyalty":"true_loyalty","brands":"many_brand"},"by":{"purchases":1,"spend":5,"referrals":2,"last_purchase_at":"1970-01-01T00:00:00Z","satisfaction":{"answer":4,"at":"1970-01-01T00:00:00Z"},"recommendation":{"answer":4,"at":"1970-01-01T00:00:00Z"},"involvement":{"answer":4,"at":"1970-01-01T00:00:00Z"},"brands":{"answer":4,"at":"1970-01-01T00:00:00Z"},"open_complaints":3},"silence":{"rare":1,"at_risk":2,"lapsed":3,"lost":4}}"#,
        ),
        (
            ActivityDetail::FeedbackAccepted {
                happened_at: at,
                day,
                slides_to: None,
                answers: Box::new(Answers { satisfaction: Some(5), ..Answers::default() }),
            }
            .into(),
            r#"{"kind":"feedback_accepted","happened_at":"1970-01-01T00:00:00Z","day":"2026-01-15","satisfaction":5}"#,
        ),
        (
            ActivityDetail::FeedbackAccepted {
                happened_at: at,
                day,
                slides_to: Some(at),
                answers: Box::new(Answers {
                    satisfaction: None,
                    recommendation: Some(0),
                    acsi: Some(AcsiAnswers { satisfaction: 1, expectation: 2, ideal: 3 }),
                    factors: vec![
                        FactorAnswer { factor_id: "price".try_into().unwrap(), score: 4, importance: Some(5) },
                        FactorAnswer { factor_id: "staff".try_into().unwrap(), score: 1, importance: None },
                    ],
                    value: Some(DeliveredValue { received: 9, money: 4, time: 3, effort: 2, nerves: 1 }),
                    channel: Some(FeedbackChannel::InPerson),
                    involvement: Some(2),
                    brands: Some(7),
                }),
            }
            .into(),
            r#"{"kind":"feedback_accepted","happened_at":"1970-01-01T00:00:00Z","day":"2026-01-15","slides_to":"1970-01-01T00:00:00Z","recommendation":0,"acsi":{"satisfaction":1,"expectation":2,"ideal":3},"factors":[{"factor_id":"price","score":4,"importance":5},{"factor_id":"staff","score":1}],"value":{"received":9,"money":4,"time":3,"effort":2,"nerves":1},"channel":"in_person","involvement":2,"brands":7}"#,
        ),
        (
            ActivityDetail::RefundAccepted {
                purchase: 2,
                spend: 5,
                happened_at: at,
                slides_to: Some(at),
                counts: None,
            }
            .into(),
            r#"{"kind":"refund_accepted","purchase":2,"spend":5,"happened_at":"1970-01-01T00:00:00Z","slides_to":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            PointsDetail::PointsGranted {
                terms: LotTerms {
                    vests_at: Some(at),
                    vest_by: Some(at),
                    expires_at: Some(at),
                    slides: true,
                    expiry_rule: Some("never".to_owned()),
                },
                counted_in: vec![EarningWindow {
                    period: "month".to_owned(),
                    since: Some(at),
                    day: None,
                    earned: None,
                }],
                uncapped: Some(9),
            }
            .into(),
            r#"{"kind":"points_granted","terms":{"vests_at":"1970-01-01T00:00:00Z","vest_by":"1970-01-01T00:00:00Z","expires_at":"1970-01-01T00:00:00Z","slides":true,"expiry_rule":"never"},"counted_in":[{"period":"month","since":"1970-01-01T00:00:00Z"}],"uncapped":9}"#,
        ),
        (
            PointsDetail::PointsGranted {
                terms: LotTerms::default(),
                counted_in: vec![EarningWindow {
                    period: "day".to_owned(),
                    since: None,
                    day: Some(jiff::civil::date(2026, 1, 2)),
                    earned: Some(7),
                }],
                uncapped: None,
            }
            .into(),
            r#"{"kind":"points_granted","counted_in":[{"period":"day","day":"2026-01-02","earned":7}]}"#,
        ),
        (PointsDetail::PointsImported { terms: LotTerms::default() }.into(), r#"{"kind":"points_imported"}"#),
        (PointsDetail::PointsVested { lot: 3, expires_at: None }.into(), r#"{"kind":"points_vested","lot":3}"#),
        (PointsDetail::VestingMissed { lot: 3 }.into(), r#"{"kind":"vesting_missed","lot":3}"#),
        (
            PointsDetail::PointsExpired { lots: vec![part], hold: Some(4) }.into(),
            r#"{"kind":"points_expired","lots":[{"lot":3,"points":8}],"hold":4}"#,
        ),
        (
            PointsDetail::PointsRedeemed { lots: vec![part], hold: None }.into(),
            r#"{"kind":"points_redeemed","lots":[{"lot":3,"points":8}]}"#,
        ),
        (
            PointsDetail::PointsHeld { lots: vec![part], ends_at: at }.into(),
            r#"{"kind":"points_held","lots":[{"lot":3,"points":8}],"ends_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            PointsDetail::PointsReleased { hold: 4, lots: vec![part] }.into(),
            r#"{"kind":"points_released","hold":4,"lots":[{"lot":3,"points":8}]}"#,
        ),
        (
            PointsDetail::PointsAdjusted { terms: Some(LotTerms::default()), lots: Vec::new() }.into(),
            r#"{"kind":"points_adjusted","terms":{}}"#,
        ),
        (
            PointsDetail::PointsAdjusted { terms: None, lots: vec![part] }.into(),
            r#"{"kind":"points_adjusted","lots":[{"lot":3,"points":8}]}"#,
        ),
        (
            PointsDetail::EntryReversed { reversed: 5, lots: vec![part], expires_at: Some(at), passed_over: None }
                .into(),
            r#"{"kind":"entry_reversed","reversed":5,"lots":[{"lot":3,"points":8}],"expires_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            PointsDetail::EntryReversed { reversed: 5, lots: vec![part], expires_at: None, passed_over: Some(6) }
                .into(),
            r#"{"kind":"entry_reversed","reversed":5,"lots":[{"lot":3,"points":8}],"passed_over":6}"#,
        ),
        (
            PointsDetail::ReversalSettled { reversed: 5, lots: vec![part] }.into(),
            r#"{"kind":"reversal_settled","reversed":5,"lots":[{"lot":3,"points":8}]}"#,
        ),
        (
            PointsDetail::ReversalSettled { reversed: 5, lots: Vec::new() }.into(),
            r#"{"kind":"reversal_settled","reversed":5}"#,
        ),
        (PointsDetail::DebtIncurred { reversed: 5 }.into(), r#"{"kind":"debt_incurred","reversed":5}"#),
        (
            PointsDetail::DebtRepaid { lots: vec![part] }.into(),
            r#"{"kind":"debt_repaid","lots":[{"lot":3,"points":8}]}"#,
        ),
        (
            TierDetail::TierImported {
                from: "a".try_into().unwrap(),
                to: "b".try_into().unwrap(),
                hidden: None,
                qualifying_spend: 7,
                outlook: Outlook::default(),
            }
            .into(),
            r#"{"kind":"tier_imported","from":"a","to":"b","qualifying_spend":7}"#,
        ),
        (
            TierDetail::TierOverridden {
                from: "a".try_into().unwrap(),
                to: "b".try_into().unwrap(),
                hidden: "a".try_into().unwrap(),
                tier_id: "b".try_into().unwrap(),
                force: OverrideForce::Floor,
                ends_at: Some(at),
                package_id: Some("p".try_into().unwrap()),
            }
            .into(),
            r#"{"kind":"tier_overridden","from":"a","to":"b","hidden":"a","tier_id":"b","force":"floor","ends_at":"1970-01-01T00:00:00Z","package_id":"p"}"#,
        ),
        (
            TierDetail::TierReleased { from: "b".try_into().unwrap(), to: "a".try_into().unwrap(), package_id: None }
                .into(),
            r#"{"kind":"tier_released","from":"b","to":"a"}"#,
        ),
        (
            TierDetail::ReferralCounted { day, outlook: Outlook { ends_at: Some(at), decides_at: Some(at) } }.into(),
            r#"{"kind":"referral_counted","day":"2026-01-15","ends_at":"1970-01-01T00:00:00Z","decides_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            TierDetail::TierChanged {
                from: Some("b".try_into().unwrap()),
                to: "a".try_into().unwrap(),
                hidden: Some("c".try_into().unwrap()),
                qualifying_spend: 7,
                change: Some(TierMove::Downgraded),
                enrolled_on: Some(day),
                former_ends_at: Some(at),
                earned: Some(Earnings {
                    from: Some(day),
                    until: Some(day),
                    margin: 1,
                    points: 2,
                    purchases: 3,
                    active_days: 4,
                    referrals: 5,
                }),
                package_id: Some("p".try_into().unwrap()),
                outlook: Outlook { ends_at: Some(at), decides_at: Some(at) },
            }
            .into(),
            r#"{"kind":"tier_changed","from":"b","to":"a","hidden":"c","qualifying_spend":7,"change":"downgraded","enrolled_on":"2026-01-15","former_ends_at":"1970-01-01T00:00:00Z","earned":{"from":"2026-01-15","until":"2026-01-15","margin":1,"points":2,"purchases":3,"active_days":4,"referrals":5},"package_id":"p","ends_at":"1970-01-01T00:00:00Z","decides_at":"1970-01-01T00:00:00Z"}"#,
        ),
        (
            ActivityDetail::RefundAccepted {
                purchase: 2,
                spend: 5,
                happened_at: at,
                slides_to: None,
                counts: Some(Counts {
                    day,
                    margin: 1,
                    points: 2,
                    whole: true,
                    former_lost: true,
                    outlook: Outlook::default(),
                }),
            }
            .into(),
            r#"{"kind":"refund_accepted","purchase":2,"spend":5,"happened_at":"1970-01-01T00:00:00Z","counts":{"day":"2026-01-15","margin":1,"points":2,"whole":true,"former_lost":true}}"#,
        ),
    ];
    for (detail, json) in details {
        assert_eq!(detail.to_json().unwrap(), *json);
        assert_eq!(read(json).unwrap(), *detail);
        assert!(json.starts_with(&format!(r#"{{"kind":"{}""#, detail.kind())), "{json}");
    }
    let kept: BTreeSet<&str> = details.iter().map(|(detail, _)| detail.kind()).collect();
    assert_eq!(kept, all_kinds());
}

#[test]
fn what_travels_with_wide_numbers_as_strings_reads_back() {
    let wide = 9_007_199_254_740_993;
    let at = Timestamp::UNIX_EPOCH;
    let details: [Detail; 4] = [
        ActivityDetail::ActivityAccepted {
            spend: wide,
            happened_at: at,
            slides_to: None,
            uncapped: Some(wide),
            multiplied: None,
            counts: None,
        }
        .into(),
        ActivityDetail::RefundAccepted { purchase: 2, spend: wide, happened_at: at, slides_to: None, counts: None }
            .into(),
        TierDetail::TierChanged {
            from: None,
            to: "gold".try_into().unwrap(),
            hidden: None,
            qualifying_spend: i64::MAX,
            change: None,
            enrolled_on: None,
            former_ends_at: None,
            earned: None,
            package_id: None,
            outlook: Outlook::default(),
        }
        .into(),
        TierDetail::TierImported {
            from: "a".try_into().unwrap(),
            to: "b".try_into().unwrap(),
            hidden: None,
            qualifying_spend: i64::MAX,
            outlook: Outlook::default(),
        }
        .into(),
    ];
    for detail in details {
        let json = detail.to_wire_json().unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let is_text = |field: &str| value.get(field).is_some_and(serde_json::Value::is_string);
        assert!(is_text("spend") || is_text("qualifying_spend"), "{json}");
        assert_eq!(read(&json).unwrap(), detail);
        assert_eq!(read(&detail.to_json().unwrap()).unwrap(), detail);
    }
}

#[test]
fn what_is_no_detail_is_told_by_its_cause() {
    let refused = |json| read(json).unwrap_err();
    assert_eq!(
        refused(r#"{"kind":"points_stolen","lot":3}"#),
        "unknown variant `points_stolen`: no entry has this kind"
    );
    assert!(refused(r#"{"lot":3}"#).starts_with("missing field `kind`"));
    assert!(refused(r#"{"kind":"points_vested"}"#).starts_with("missing field `lot`"));
    assert!(Detail::from_json(r#"{"kind":"referral_expired"} 1"#).is_err());
}

/// A newer version adds fields. What they say is for versions that know them.
#[test]
fn fields_that_are_not_known_are_passed_over() {
    let known = |json| read(json).unwrap();
    let at = r#"{"kind":"points_redeemed","lots":[{"lot":3,"points":8,"by":[1]}],"shop":{"id":4}}"#;
    assert_eq!(
        known(at),
        PointsDetail::PointsRedeemed { lots: vec![LotPart { lot: 3, points: 8 }], hold: None }.into()
    );
    assert_eq!(known(r#"{"kind":"notes_erased","which":["all"]}"#), CustomerDetail::NotesErased.into());
}

#[test]
fn the_kind_is_found_wherever_it_stands() {
    let detail = PointsDetail::PointsVested { lot: 3, expires_at: None }.into();
    assert_eq!(read(r#"{"lot": 3, "kind": "points_vested"}"#), Ok(detail));
}
