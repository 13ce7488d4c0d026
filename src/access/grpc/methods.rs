//! What each role may call: one row for each method. A method that has no row cannot be called, and does not compile
//! where its handler asks to be admitted.
//!
//! `docs/authorization.md` shows the same table, and a test holds them equal.

use crate::access::method::{Kind, Method, Tie};
use crate::access::role::Role;
use crate::proto;

/// A request, which belongs to one method.
pub(crate) trait Tied {
    /// The method.
    const METHOD: Method;

    /// Reads off the request what ties it.
    fn tie<T>(&self, read: impl FnOnce(Tie<'_>) -> T) -> T;
}

/// The text in a field of a request; empty where the message around it is absent.
macro_rules! field {
    ($request:ident, $field:ident) => {
        Some($request.$field.as_str())
    };
    ($request:ident, $outer:ident . $field:ident) => {
        Some($request.$outer.as_ref().map_or("", |inner| inner.$field.as_str()))
    };
    ($request:ident,) => {
        None
    };
}

/// The name of a field, with the one around it.
macro_rules! field_name {
    ($field:ident) => {
        Some(stringify!($field))
    };
    ($outer:ident . $field:ident) => {
        Some(concat!(stringify!($outer), ".", stringify!($field)))
    };
    () => {
        None
    };
}

/// Defines the table. A row is: service, method, request, the fields of program and customer, what it does, the roles; and
/// what else must hold for one of them.
macro_rules! methods {
    ($($service:ident . $method:ident ($request:ident: $($program:ident).*, $($customer:ident).*) $kind:ident by $($role:ident)|+
        $(, $of:ident if $told:literal $holds:expr)?;)*) => {
        /// Every method of the interface. Health and reflection are apart: they are open.
        pub const METHODS: &[Method] = &[$(<proto::$request as Tied>::METHOD,)*];

        $(impl Tied for proto::$request {
            const METHOD: Method = Method {
                name: concat!(stringify!($service), ".", stringify!($method)),
                path: concat!("/goldbook.v1.", stringify!($service), "/", stringify!($method)),
                kind: Kind::$kind,
                roles: &[$(Role::$role),+],
                program: field_name!($($program).*),
                customer: field_name!($($customer).*),
                condition: methods!(@ condition $($of $told)?),
            };

            fn tie<T>(&self, read: impl FnOnce(Tie<'_>) -> T) -> T {
                let permits = |_role: Role| methods!(@ permits self _role $($of $holds)?);
                read(Tie {
                    program_id: field!(self, $($program).*),
                    customer_id: field!(self, $($customer).*),
                    permits: &permits,
                })
            }
        })*
    };
    (@ condition $of:ident $told:literal) => { Some((Role::$of, $told)) };
    (@ condition) => { None };
    (@ permits $request:ident $role:ident $of:ident $holds:expr) => { $role != Role::$of || ($holds)($request) };
    (@ permits $request:ident $role:ident) => { true };
}

/// What a customer says to whoever serves them, who records it for them.
fn is_own_feedback(request: &proto::RecordActivityRequest) -> bool {
    let is_feedback = matches!(request.activity, Some(proto::record_activity_request::Activity::Feedback(_)));
    is_feedback && !request.enrol && !request.as_history
}

/// Whether something is given as goodwill: whoever serves customers gives that by `GrantGoodwill` alone, within its limits.
fn is_goodwill(reason: i32) -> bool {
    reason == i32::from(proto::CorrectionReason::Goodwill)
}

/// A complaint as a customer makes it: who deals with it, and how much it presses, others say.
fn is_plain_complaint(request: &proto::OpenComplaintRequest) -> bool {
    request.priority == 0 && request.owner.is_empty() && request.received_at.is_none()
}

/// What a customer thinks of how their complaint was handled, and nothing else.
fn is_score_alone(request: &proto::UpdateComplaintRequest) -> bool {
    let proto::UpdateComplaintRequest {
        program_id, customer_id, complaint_id, idempotency_key, handling_score, ..
    } = request.clone();
    let score_alone = proto::UpdateComplaintRequest {
        program_id,
        customer_id,
        complaint_id,
        idempotency_key,
        handling_score,
        ..Default::default()
    };
    handling_score.is_some() && *request == score_alone
}

methods! {
    ActivityService.RecordActivity(RecordActivityRequest: program_id, customer_id) Write by Service | Support,
        Support if "`feedback` is set, `enrol` and `as_history` are not" is_own_feedback;
    ActivityService.BatchRecordActivities(BatchRecordActivitiesRequest: activity.program_id, activity.customer_id)
        Write by Service | Manager;
    ActivityService.ListActivities(ListActivitiesRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    BenefitService.ListCustomerBenefits(ListCustomerBenefitsRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    BenefitService.UseBenefit(UseBenefitRequest: program_id, customer_id) Write by Service | Support;
    BenefitService.ReverseBenefitUse(ReverseBenefitUseRequest: program_id, customer_id) Write by Service | Support;
    BenefitService.GrantEntitlement(GrantEntitlementRequest: program_id, customer_id) Write by Support | Manager,
        Support if "`reason` is not `CORRECTION_REASON_GOODWILL`"
            |request: &proto::GrantEntitlementRequest| !is_goodwill(request.reason);
    BenefitService.RevokeEntitlement(RevokeEntitlementRequest: program_id, customer_id) Write by Support | Manager;
    ComplaintService.OpenComplaint(OpenComplaintRequest: program_id, customer_id) Write by Customer | Service | Support,
        Customer if "`priority`, `owner` and `received_at` are not set" is_plain_complaint;
    ComplaintService.AcknowledgeComplaint(AcknowledgeComplaintRequest: program_id, customer_id)
        Write by Service | Support;
    ComplaintService.UpdateComplaint(UpdateComplaintRequest: program_id, customer_id)
        Write by Customer | Service | Support,
        Customer if "nothing but `handling_score` is set" is_score_alone;
    ComplaintService.OfferRemedy(OfferRemedyRequest: program_id, customer_id) Write by Service | Support;
    ComplaintService.ResolveComplaint(ResolveComplaintRequest: program_id, customer_id) Write by Service | Support;
    ComplaintService.ReopenComplaint(ReopenComplaintRequest: program_id, customer_id)
        Write by Customer | Service | Support;
    ComplaintService.GrantGoodwill(GrantGoodwillRequest: program_id, customer_id) Write by Support | Manager;
    ComplaintService.GetComplaint(GetComplaintRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    ComplaintService.ListComplaints(ListComplaintsRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    ComplaintService.ListDueComplaints(ListDueComplaintsRequest: program_id,) Read by Support | Manager | Auditor;
    ComplaintService.GetComplaintMetrics(GetComplaintMetricsRequest: program_id,) Read by Manager | Auditor;
    CustomerService.CreateCustomer(CreateCustomerRequest: program_id, customer.customer_id) Write by Service | Support;
    CustomerService.GetCustomer(GetCustomerRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    CustomerService.UpdateCustomer(UpdateCustomerRequest: program_id, customer.customer_id) Write by Service | Support;
    CustomerService.EraseCustomer(EraseCustomerRequest: program_id, customer_id) Write by Manager;
    CustomerService.ListCustomers(ListCustomersRequest: program_id,) Read by Service | Support | Manager | Auditor;
    CustomerService.ExportCustomer(ExportCustomerRequest: program_id, customer_id)
        Export by Customer | Support | Auditor;
    ImportService.ImportBalances(ImportBalancesRequest: program_id, customer_id) Write by Manager;
    LedgerService.ListEntries(ListEntriesRequest: program_id, customer_id) Read by Service | Support | Manager | Auditor;
    LedgerService.GetEntry(GetEntryRequest: program_id,) Read by Service | Support | Manager | Auditor;
    LedgerService.ExportEntries(ExportEntriesRequest: program_id,) Export by Auditor;
    LedgerService.GetStatement(GetStatementRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    LedgerService.ListPrivilegedActions(ListPrivilegedActionsRequest: program_id,) Read by Auditor;
    LiabilityService.GetLiability(GetLiabilityRequest: program_id,) Read by Manager | Auditor;
    LifecycleService.GetLifecycle(GetLifecycleRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    ProgramService.ApplyProgram(ApplyProgramRequest: program.program_id,) Write by Manager;
    ProgramService.GetProgram(GetProgramRequest: program_id,) Read by Service | Support | Manager | Auditor;
    ProgramService.ListPrograms(ListProgramsRequest: ,) Read by Service | Support | Manager | Auditor;
    ReferralService.CreateReferralCode(CreateReferralCodeRequest: program_id, customer_id)
        Write by Customer | Service | Support;
    ReferralService.GetReferralCode(GetReferralCodeRequest: program_id,) Read by Service | Support | Manager | Auditor;
    ReferralService.CreateReferral(CreateReferralRequest: program_id, referee_customer_id) Write by Customer | Service;
    ReferralService.GetReferral(GetReferralRequest: program_id, referee_customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    ReferralService.ListReferrals(ListReferralsRequest: program_id, referrer_customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    ReferralService.ConvertReferral(ConvertReferralRequest: program_id, referee_customer_id)
        Write by Service | Support | Manager;
    RewardService.GrantReward(GrantRewardRequest: program_id, customer_id) Write by Service;
    RewardService.BatchGrantRewards(BatchGrantRewardsRequest: grant.program_id, grant.customer_id)
        Write by Service | Manager;
    RewardService.VestReward(VestRewardRequest: program_id, customer_id) Write by Service | Support;
    RewardService.RedeemPoints(RedeemPointsRequest: program_id, customer_id) Write by Service;
    RewardService.HoldPoints(HoldPointsRequest: program_id, customer_id) Write by Service | Support;
    RewardService.CapturePoints(CapturePointsRequest: program_id, customer_id) Write by Service | Support;
    RewardService.ReleasePoints(ReleasePointsRequest: program_id, customer_id) Write by Service | Support;
    RewardService.ReverseEntry(ReverseEntryRequest: program_id, customer_id) Write by Service | Support;
    RewardService.AdjustPoints(AdjustPointsRequest: program_id, customer_id) Write by Support,
        Support if "`reason` is not `CORRECTION_REASON_GOODWILL`"
            |request: &proto::AdjustPointsRequest| !is_goodwill(request.reason);
    RewardService.ListLots(ListLotsRequest: program_id, customer_id) Read by Service | Support | Manager | Auditor;
    RewardService.ListLotUses(ListLotUsesRequest: program_id, customer_id) Read by Service | Support | Manager | Auditor;
    RewardService.GetBalance(GetBalanceRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    RewardService.ListRewards(ListRewardsRequest: program_id, customer_id) Read by Service | Support | Manager | Auditor;
    SatisfactionService.GetSatisfaction(GetSatisfactionRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    SatisfactionService.GetSatisfactionIndex(GetSatisfactionIndexRequest: program_id,) Read by Manager | Auditor;
    SegmentService.ListSegmentMembers(ListSegmentMembersRequest: program_id,) Read by Service | Support | Manager | Auditor,
        Support if "`program` and `version` are not set"
            |request: &proto::ListSegmentMembersRequest| request.policy.is_none();
    SegmentService.CountSegment(CountSegmentRequest: program_id,) Read by Manager | Auditor;
    SegmentService.ListCustomerSegments(ListCustomerSegmentsRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    TierService.GetCustomerTier(GetCustomerTierRequest: program_id, customer_id)
        Read by Customer | Service | Support | Manager | Auditor;
    TierService.BatchGetCustomerTiers(BatchGetCustomerTiersRequest: program_id,)
        Read by Service | Support | Manager | Auditor;
    TierService.SetTierOverride(SetTierOverrideRequest: program_id, customer_id) Write by Support | Manager;
    TierService.ClearTierOverride(ClearTierOverrideRequest: program_id, customer_id) Write by Support | Manager;
    TierService.ListTierStatistics(ListTierStatisticsRequest: program_id,) Export by Manager | Auditor;
    TierService.SimulateTierPolicy(SimulateTierPolicyRequest: program_id,) Export by Manager | Auditor;
    TierService.ReevaluateTiers(ReevaluateTiersRequest: program_id,) Write by Manager;
    TierService.GetTierReevaluation(GetTierReevaluationRequest: program_id,) Read by Manager | Auditor;
    TierService.ListTierChanges(ListTierChangesRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    ValueService.GetCustomerValue(GetCustomerValueRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    ValueService.FitValueModel(FitValueModelRequest: program_id,) Write by Manager;
    ValueService.GetValueModel(GetValueModelRequest: program_id,) Read by Manager | Auditor;
    ValueService.GetValueBacktest(GetValueBacktestRequest: program_id,) Read by Manager | Auditor;
    ValueService.GetScoreClasses(GetScoreClassesRequest: program_id,) Read by Manager | Auditor;
    ValueService.GetRetention(GetRetentionRequest: program_id,) Read by Manager | Auditor;
    ValueService.GetValueClass(GetValueClassRequest: program_id, customer_id)
        Read by Service | Support | Manager | Auditor;
    ValueService.GetValueClassification(GetValueClassificationRequest: program_id,) Read by Manager | Auditor;
    ValueService.SimulateValueClasses(SimulateValueClassesRequest: program_id,) Read by Manager | Auditor;
}
