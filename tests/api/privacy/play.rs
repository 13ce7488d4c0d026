//! Every method once, in a way that it is carried out: what callers choose is left empty, to become marks.

use goldbook::proto;
use goldbook::proto::BalanceDisposal::Expire;
use goldbook::proto::DowngradeTime::AtOnce;
use goldbook::proto::google::{Date, PostalAddress};
use goldbook::proto::{hold_points_request::End, import_balances_request::Opening, record_activity_request::Activity};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use super::caller::Caller;
use crate::harness::{Clock, SHOP, at, create_customer, instant, purchase, shop, usd};
use crate::wait::until;

/// The fields of a dossier, as an update names them.
const DOSSIER: [&str; 14] = [
    "given_name",
    "family_name",
    "display_name",
    "email",
    "phone",
    "address",
    "locale",
    "language",
    "birth_date",
    "important_dates",
    "interests",
    "communication_style",
    "attributes",
    "marketing_consents",
];

/// A dossier with something of everything that can be there more than once.
fn dossier(customer_id: &str) -> proto::Customer {
    let date = Some(Date { year: 1980, month: 2, day: 29 });
    let consent = |channel: proto::MarketingChannel| proto::MarketingConsent {
        channel: channel.into(),
        granted: true,
        decided_at: Some(at("2026-01-10T00:00:00Z")),
        source: String::new(),
    };
    proto::Customer {
        customer_id: customer_id.to_owned(),
        address: Some(PostalAddress::default()),
        birth_date: date,
        important_dates: vec![proto::ImportantDate { label: String::new(), date }],
        communication_style: proto::CommunicationStyle::Driver.into(),
        marketing_consents: vec![consent(proto::MarketingChannel::Email), consent(proto::MarketingChannel::Phone)],
        ..Default::default()
    }
}

fn grant(customer_id: &str, points: i64) -> proto::GrantRewardRequest {
    proto::GrantRewardRequest { ..crate::harness::grant_reward(customer_id, points, "") }
}

fn hold(customer_id: &str) -> proto::HoldPointsRequest {
    proto::HoldPointsRequest {
        program_id: SHOP.to_owned(),
        customer_id: customer_id.to_owned(),
        points: 10,
        end: Some(End::EndsAfter("PT30M".to_owned())),
        ..Default::default()
    }
}

/// Makes a request of these fields; the others are empty.
macro_rules! of {
    ($request:ident { $($field:ident: $value:expr),* $(,)? }) => {
        &fresh(|request: &mut proto::$request| {
            request.program_id = SHOP.to_owned();
            $(request.$field = $value.clone();)*
        })
    };
}

fn fresh<T: Default>(fill: impl FnOnce(&mut T)) -> T {
    let mut message = T::default();
    fill(&mut message);
    message
}

impl Caller {
    /// Plays all methods, by a caller who may do everything. It begins with the program. The customer of most of it.
    pub(super) async fn play(&mut self) -> String {
        let value_classes = Some(crate::value::classes::by_amount());
        let everybody =
            crate::segments::segment("everybody", vec![crate::segments::not(crate::segments::tiers(&["gold"]))]);
        let giving = proto::Program {
            goodwill: Some(proto::GoodwillPolicy::default()),
            value_classes,
            segments: vec![everybody],
            ..shop()
        };
        let apply = proto::ApplyProgramRequest { program: Some(giving), ..Default::default() };
        let _: proto::ApplyProgramResponse = self.carry_out("ProgramService.ApplyProgram", &apply).await;
        let customer_id = self.play_customers().await;
        self.play_on(&customer_id).await;
        self.play_imports().await;
        self.play_reads(&customer_id).await;
        customer_id
    }

    /// Plays what a customer does who is there already.
    pub(super) async fn play_on(&mut self, customer_id: &str) {
        self.play_activities(customer_id).await;
        self.play_benefits(customer_id).await;
        self.play_rewards(customer_id).await;
        self.play_referrals(customer_id).await;
        self.play_overrides(customer_id).await;
        self.play_complaints(customer_id).await;
    }

    async fn play_complaints(&mut self, customer_id: &str) {
        let customer_id = customer_id.to_owned();
        let open = of!(OpenComplaintRequest { customer_id: customer_id });
        let opened: proto::OpenComplaintResponse = self.carry_out("ComplaintService.OpenComplaint", open).await;
        let complaint_id = opened.complaint.unwrap().complaint_id;
        let acknowledge = of!(AcknowledgeComplaintRequest { customer_id: customer_id, complaint_id: complaint_id });
        self.look("ComplaintService.AcknowledgeComplaint", acknowledge).await;
        let owner = Some(String::new());
        let update = of!(UpdateComplaintRequest { customer_id: customer_id, complaint_id: complaint_id, owner: owner });
        self.look("ComplaintService.UpdateComplaint", update).await;
        let kind = proto::RemedyKind::Apology.into();
        let remedy = Some(proto::Remedy { kind, ..Default::default() });
        let offer = of!(OfferRemedyRequest { customer_id: customer_id, complaint_id: complaint_id, remedy: remedy });
        self.look("ComplaintService.OfferRemedy", offer).await;
        let gift = Some(proto::grant_goodwill_request::Gift::Points(5));
        let give = of!(GrantGoodwillRequest { customer_id: customer_id, complaint_id: complaint_id, gift: gift });
        self.look("ComplaintService.GrantGoodwill", give).await;
        let outcome = i32::from(proto::ComplaintOutcome::Rejected);
        let resolve =
            of!(ResolveComplaintRequest { customer_id: customer_id, complaint_id: complaint_id, outcome: outcome });
        self.look("ComplaintService.ResolveComplaint", resolve).await;
        let reopen = of!(ReopenComplaintRequest { customer_id: customer_id, complaint_id: complaint_id });
        self.look("ComplaintService.ReopenComplaint", reopen).await;
        let get = of!(GetComplaintRequest { customer_id: customer_id, complaint_id: complaint_id });
        self.look("ComplaintService.GetComplaint", get).await;
        self.look("ComplaintService.ListComplaints", of!(ListComplaintsRequest { customer_id: customer_id })).await;
        self.look("ComplaintService.ListDueComplaints", of!(ListDueComplaintsRequest {})).await;
        self.look("LifecycleService.GetLifecycle", of!(GetLifecycleRequest { customer_id: customer_id })).await;
        self.look("ComplaintService.GetComplaintMetrics", of!(GetComplaintMetricsRequest {})).await;
    }

    async fn play_overrides(&mut self, customer_id: &str) {
        let (customer_id, tier_id) = (customer_id.to_owned(), "silver".to_owned());
        let (kind, reason) = (i32::from(proto::TierOverrideKind::Floor), i32::from(proto::CorrectionReason::Other));
        let set =
            of!(SetTierOverrideRequest { customer_id: customer_id, tier_id: tier_id, kind: kind, reason: reason });
        let _: proto::SetTierOverrideResponse = self.carry_out("TierService.SetTierOverride", set).await;
        let clear = of!(ClearTierOverrideRequest { customer_id: customer_id, reason: reason });
        let _: proto::ClearTierOverrideResponse = self.carry_out("TierService.ClearTierOverride", clear).await;
    }

    /// Enrols a customer with everything in the dossier, and updates another one, who was nobody but a name before.
    async fn play_customers(&mut self) -> String {
        let create = of!(CreateCustomerRequest { customer: Some(dossier("")) });
        let created: proto::CreateCustomerResponse = self.carry_out("CustomerService.CreateCustomer", create).await;
        let updated = self.enrol_plainly().await;
        let update_mask = Some(prost_types::FieldMask { paths: DOSSIER.map(str::to_owned).to_vec() });
        let update = of!(UpdateCustomerRequest { customer: Some(dossier(&updated)), update_mask: update_mask });
        let _: proto::UpdateCustomerResponse = self.carry_out("CustomerService.UpdateCustomer", update).await;
        created.customer.unwrap().customer_id
    }

    /// Enrols a customer of whom a marked name is known and nothing else.
    pub(super) async fn enrol_plainly(&mut self) -> String {
        let customer_id = self.marks.next().text();
        let create = create_customer(&customer_id, &format!("create {}", self.marked.len()));
        let create = self.read("CustomerService.CreateCustomer", &create);
        self.send("CustomerService.CreateCustomer", &create).await.unwrap();
        customer_id
    }

    async fn play_activities(&mut self, customer_id: &str) {
        let now = Clock::database().now();
        let bought = purchase(customer_id, "", "300.00", now);
        let recorded: proto::RecordActivityResponse = self.carry_out("ActivityService.RecordActivity", &bought).await;
        let refund = proto::Refund {
            purchase_activity_id: recorded.activity.unwrap().activity_id,
            amount: Some(usd("20.00")),
            ..Default::default()
        };
        let refunded = proto::RecordActivityRequest {
            activity: Some(Activity::Refund(refund)),
            happened_at: Some(instant(now)),
            ..purchase(customer_id, "", "1.00", now)
        };
        let _: proto::RecordActivityResponse = self.carry_out("ActivityService.RecordActivity", &refunded).await;
        let said = Activity::Feedback(proto::Feedback { satisfaction: Some(2), ..Default::default() });
        let said = proto::RecordActivityRequest { activity: Some(said), ..refunded.clone() };
        let _: proto::RecordActivityResponse = self.carry_out("ActivityService.RecordActivity", &said).await;
        for activity in [purchase("", "", "12.00", now), refunded, said] {
            let activity = proto::RecordActivityRequest { activity_id: String::new(), ..activity };
            let item = proto::BatchRecordActivitiesRequest { item_id: String::new(), activity: Some(activity) };
            let _: proto::BatchRecordActivitiesResponse =
                self.carry_out("ActivityService.BatchRecordActivities", &item).await;
        }
    }

    async fn play_benefits(&mut self, customer_id: &str) {
        let (customer_id, benefit_id) = (customer_id.to_owned(), "lounge".to_owned());
        let (tier_id, reason) = ("gold".to_owned(), i32::from(proto::CorrectionReason::Correction));
        let grant = of!(GrantEntitlementRequest {
            customer_id: customer_id,
            benefit_id: benefit_id,
            tier_id: tier_id,
            reason: reason
        });
        let granted: proto::GrantEntitlementResponse = self.carry_out("BenefitService.GrantEntitlement", grant).await;
        let entitlement_id = granted.entitlement_id;
        let using =
            of!(UseBenefitRequest { customer_id: customer_id, benefit_id: benefit_id, entitlement_id: entitlement_id });
        let used: proto::UseBenefitResponse = self.carry_out("BenefitService.UseBenefit", using).await;
        let use_id = used.r#use.unwrap().use_id;
        let reverse = of!(ReverseBenefitUseRequest { customer_id: customer_id, use_id: use_id, reason: reason });
        let _: proto::ReverseBenefitUseResponse = self.carry_out("BenefitService.ReverseBenefitUse", reverse).await;
        let revoke =
            of!(RevokeEntitlementRequest { customer_id: customer_id, entitlement_id: entitlement_id, reason: reason });
        let _: proto::RevokeEntitlementResponse = self.carry_out("BenefitService.RevokeEntitlement", revoke).await;
    }

    async fn play_rewards(&mut self, customer_id: &str) {
        let granted: proto::GrantRewardResponse =
            self.carry_out("RewardService.GrantReward", &grant(customer_id, 100)).await;
        let rule = proto::vesting_rule::Rule::OnEventWithin("P5D".to_owned());
        let later = proto::GrantRewardRequest {
            vesting: Some(proto::VestingRule { rule: Some(rule) }),
            ..grant(customer_id, 30)
        };
        let pending: proto::GrantRewardResponse = self.carry_out("RewardService.GrantReward", &later).await;
        let item = proto::BatchGrantRewardsRequest { item_id: String::new(), grant: Some(grant(customer_id, 50)) };
        let _: proto::BatchGrantRewardsResponse = self.carry_out("RewardService.BatchGrantRewards", &item).await;
        let reward_id = pending.reward.unwrap().reward_id;
        let customer_id = customer_id.to_owned();
        let vest = of!(VestRewardRequest { customer_id: customer_id, reward_id: reward_id });
        let _: proto::VestRewardResponse = self.carry_out("RewardService.VestReward", vest).await;
        let redeem = of!(RedeemPointsRequest { customer_id: customer_id, points: 5 });
        let _: proto::RedeemPointsResponse = self.carry_out("RewardService.RedeemPoints", redeem).await;
        let held: proto::HoldPointsResponse = self.carry_out("RewardService.HoldPoints", &hold(&customer_id)).await;
        let hold_id = held.hold.unwrap().hold_id;
        let capture = of!(CapturePointsRequest { customer_id: customer_id, hold_id: hold_id, points: 4 });
        let _: proto::CapturePointsResponse = self.carry_out("RewardService.CapturePoints", capture).await;
        let held: proto::HoldPointsResponse = self.carry_out("RewardService.HoldPoints", &hold(&customer_id)).await;
        let hold_id = held.hold.unwrap().hold_id;
        let release = of!(ReleasePointsRequest { customer_id: customer_id, hold_id: hold_id });
        let _: proto::ReleasePointsResponse = self.carry_out("RewardService.ReleasePoints", release).await;
        let entry_id = granted.reward.unwrap().reward_id;
        let reason = i32::from(proto::CorrectionReason::Correction);
        let reverse =
            of!(ReverseEntryRequest { customer_id: customer_id, entry_id: entry_id, points: 3, reason: reason });
        let _: proto::ReverseEntryResponse = self.carry_out("RewardService.ReverseEntry", reverse).await;
        let change = Some(proto::adjust_points_request::Change::PointsUp(7));
        let adjust = of!(AdjustPointsRequest { customer_id: customer_id, change: change, reason: reason });
        let _: proto::AdjustPointsResponse = self.carry_out("RewardService.AdjustPoints", adjust).await;
        let lots = of!(ListLotsRequest { customer_id: customer_id });
        let lots: proto::ListLotsResponse = self.carry_out("RewardService.ListLots", lots).await;
        let uses = of!(ListLotUsesRequest { customer_id: customer_id, lot_id: lots.lots[0].lot_id });
        let _: proto::ListLotUsesResponse = self.carry_out("RewardService.ListLotUses", uses).await;
    }

    async fn play_referrals(&mut self, customer_id: &str) {
        let (customer_id, campaign_id) = (customer_id.to_owned(), "partners".to_owned());
        let create = of!(CreateReferralCodeRequest { customer_id: customer_id, campaign_id: campaign_id });
        let made: proto::CreateReferralCodeResponse =
            self.carry_out("ReferralService.CreateReferralCode", create).await;
        let code = made.referral_code.unwrap().code;
        let read = of!(GetReferralCodeRequest { code: code });
        let _: proto::GetReferralCodeResponse = self.carry_out("ReferralService.GetReferralCode", read).await;
        let refer = of!(CreateReferralRequest { code: code, enrol: true });
        let referred: proto::CreateReferralResponse = self.carry_out("ReferralService.CreateReferral", refer).await;
        let referee = referred.referral.unwrap().referee_customer_id;
        let convert = of!(ConvertReferralRequest { referee_customer_id: referee });
        let _: proto::ConvertReferralResponse = self.carry_out("ReferralService.ConvertReferral", convert).await;
        let read = of!(GetReferralRequest { referee_customer_id: referee });
        let _: proto::GetReferralResponse = self.carry_out("ReferralService.GetReferral", read).await;
        let list = of!(ListReferralsRequest { referrer_customer_id: customer_id });
        let _: proto::ListReferralsResponse = self.carry_out("ReferralService.ListReferrals", list).await;
    }

    async fn play_imports(&mut self) {
        let lot = Opening::Lot(proto::OpeningLot { points: 9, ..Default::default() });
        let tier =
            Opening::Tier(proto::OpeningTier { tier_id: "silver".to_owned(), qualifying_spend: Some(usd("210")) });
        for opening in [lot, tier] {
            let import = of!(ImportBalancesRequest { enrol: true, opening: Some(opening) });
            let _: proto::ImportBalancesResponse = self.carry_out("ImportService.ImportBalances", import).await;
        }
    }

    async fn play_reads(&mut self, customer_id: &str) {
        let customer_id = customer_id.to_owned();
        let entries = of!(ListEntriesRequest { customer_id: customer_id });
        let entries: proto::ListEntriesResponse = self.carry_out("LedgerService.ListEntries", entries).await;
        let entry_id = entries.entries[0].entry_id.clone();
        let _: proto::GetEntryResponse =
            self.carry_out("LedgerService.GetEntry", of!(GetEntryRequest { entry_id: entry_id })).await;
        self.look("CustomerService.GetCustomer", of!(GetCustomerRequest { customer_id: customer_id })).await;
        self.look("CustomerService.ListCustomers", of!(ListCustomersRequest {})).await;
        self.look("ActivityService.ListActivities", of!(ListActivitiesRequest { customer_id: customer_id })).await;
        let benefits = of!(ListCustomerBenefitsRequest { customer_id: customer_id });
        self.look("BenefitService.ListCustomerBenefits", benefits).await;
        self.look("LedgerService.ExportEntries", of!(ExportEntriesRequest {})).await;
        self.look("LedgerService.ListPrivilegedActions", of!(ListPrivilegedActionsRequest {})).await;
        self.look("CustomerService.ExportCustomer", of!(ExportCustomerRequest { customer_id: customer_id })).await;
        self.look("LedgerService.GetStatement", of!(GetStatementRequest { customer_id: customer_id })).await;
        let liability = of!(GetLiabilityRequest {});
        let asked = self.read("LiabilityService.GetLiability", liability);
        until("liability to be summed up", async || self.send("LiabilityService.GetLiability", &asked).await.ok())
            .await;
        self.look("LiabilityService.GetLiability", liability).await;
        self.look("ProgramService.GetProgram", of!(GetProgramRequest {})).await;
        self.look("ProgramService.ListPrograms", &proto::ListProgramsRequest::default()).await;
        self.look("RewardService.GetBalance", of!(GetBalanceRequest { customer_id: customer_id })).await;
        self.look("RewardService.ListRewards", of!(ListRewardsRequest { customer_id: customer_id })).await;
        self.look("SatisfactionService.GetSatisfaction", of!(GetSatisfactionRequest { customer_id: customer_id }))
            .await;
        self.look(
            "SatisfactionService.GetSatisfactionIndex",
            of!(GetSatisfactionIndexRequest { segment_id: "everybody".to_owned() }),
        )
        .await;
        self.play_value(&customer_id).await;
        self.look("TierService.GetCustomerTier", of!(GetCustomerTierRequest { customer_id: customer_id })).await;
        let batch = of!(BatchGetCustomerTiersRequest { customer_ids: vec![customer_id.clone()] });
        self.look("TierService.BatchGetCustomerTiers", batch).await;
        self.look("TierService.ListTierStatistics", of!(ListTierStatisticsRequest {})).await;
        let policy = Some(proto::simulate_tier_policy_request::Policy::Version(1));
        let simulate = of!(SimulateTierPolicyRequest { policy: policy, downgrades: i32::from(AtOnce) });
        self.look("TierService.SimulateTierPolicy", simulate).await;
        let order = of!(ReevaluateTiersRequest { version: 1, downgrades: i32::from(AtOnce) });
        let ordered: proto::ReevaluateTiersResponse = self.carry_out("TierService.ReevaluateTiers", order).await;
        let reevaluation_id = ordered.reevaluation.unwrap().reevaluation_id;
        let progress = of!(GetTierReevaluationRequest { reevaluation_id: reevaluation_id });
        self.look("TierService.GetTierReevaluation", progress).await;
        self.look("TierService.ListTierChanges", of!(ListTierChangesRequest { customer_id: customer_id })).await;
    }

    /// Models learn from fifty customers, one of whom bought again on another day.
    async fn play_value(&mut self, customer_id: &str) {
        let now = Clock::database().now();
        let before = now - SignedDuration::from_hours(72);
        let again = [72, 48].map(|hours| now - SignedDuration::from_hours(hours));
        let again = again.map(|then| purchase(customer_id, "", "5.00", then)).into_iter();
        for bought in again.chain((0..50).map(|_| purchase("", "", "12.00", before))) {
            let _: proto::RecordActivityResponse = self.carry_out("ActivityService.RecordActivity", &bought).await;
        }
        let customer_id = customer_id.to_owned();
        let owned = customer_id.clone();
        self.look("ValueService.GetCustomerValue", of!(GetCustomerValueRequest { customer_id: owned })).await;
        self.look("ValueService.GetScoreClasses", of!(GetScoreClassesRequest {})).await;
        self.look("ValueService.GetRetention", of!(GetRetentionRequest { segment_id: "everybody".to_owned() })).await;
        let owned = customer_id.clone();
        self.look("ValueService.GetValueClass", of!(GetValueClassRequest { customer_id: owned })).await;
        let (owned, segment_id) = (customer_id.clone(), "everybody".to_owned());
        self.look("SegmentService.ListCustomerSegments", of!(ListCustomerSegmentsRequest { customer_id: owned })).await;
        self.look("SegmentService.ListSegmentMembers", of!(ListSegmentMembersRequest { segment_id: segment_id })).await;
        self.look("SegmentService.CountSegment", of!(CountSegmentRequest { segment_id: segment_id })).await;
        self.look("ValueService.GetValueClassification", of!(GetValueClassificationRequest {})).await;
        let policy = Some(proto::simulate_value_classes_request::Policy::Version(1));
        self.look("ValueService.SimulateValueClasses", of!(SimulateValueClassesRequest { policy: policy })).await;
        let until = now.to_zoned(TimeZone::UTC).date();
        let until = Date { year: until.year().into(), month: until.month().into(), day: until.day().into() };
        let fit = of!(FitValueModelRequest { until: Some(until), holdout_days: Some(0) });
        self.look("ValueService.FitValueModel", fit).await;
        self.look("ValueService.GetValueModel", of!(GetValueModelRequest {})).await;
        let backtest = of!(GetValueBacktestRequest { until: Some(until), holdout_days: 1 });
        self.look("ValueService.GetValueBacktest", backtest).await;
    }

    /// What a customer does with a token of their own, and that is written down.
    pub(super) async fn play_as_customer(&mut self, customer_id: &str) {
        let (customer_id, campaign_id) = (customer_id.to_owned(), "friends".to_owned());
        let create = of!(CreateReferralCodeRequest { customer_id: customer_id, campaign_id: campaign_id });
        self.look("ReferralService.CreateReferralCode", create).await;
    }

    /// Reads something that is of no further interest.
    async fn look(&mut self, method: &str, request: &impl prost::Message) {
        self.carry_out::<Nothing>(method, request).await;
    }

    /// Erases a customer of whom a marked name is known; the name.
    pub(super) async fn play_erasure(&mut self) -> String {
        let customer_id = self.enrol_plainly().await;
        let reason = i32::from(proto::ErasureReason::CustomerRequest);
        let erase = of!(EraseCustomerRequest { customer_id: customer_id, reason: reason, balance: i32::from(Expire) });
        let _: proto::EraseCustomerResponse = self.carry_out("CustomerService.EraseCustomer", erase).await;
        customer_id
    }
}

/// An answer that nobody reads.
#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}
