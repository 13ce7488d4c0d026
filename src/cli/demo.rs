//! `goldbook demo`: plays a referral from code to reward against the running service, over the RPCs that everyone uses,
//! and shows what becomes of the points.

mod points;

use clap::Args;
use comfy_table::Table;
use goldbook_api::google::Money;
use goldbook_api::v1::{
    Campaign, Conversion, CreateCustomerRequest, CreateReferralCodeRequest, CreateReferralRequest, Customer, Program,
    Purchase, RecordActivityRequest, Referral, record_activity_request,
};
use jiff::Timestamp;
use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::amount::{Amount, show_money};
use super::client::{Client, ClientOptions, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::{self, grouped, heading, print};
use super::refusal::trace_id;
use super::statement::{Reader, Statement};

/// How many entries are shown of an account. It is more than the demo writes on one.
const ALL_ENTRIES: usize = 50;

/// Play a referral from code to reward against the running service.
///
/// Enrols two made-up customers under fresh ids, gives one a code, brings the other by it, reports a purchase that
/// converts the referral, lets both hold, spend, refund and give back points, and shows what each of the two sees, with
/// every entry's cause and the trace that wrote it.
#[derive(Debug, Args)]
#[command(after_help = "The program needs a campaign that is active and converts by the first purchase, as the one of
examples/cdnow/program.toml does.

Examples:
  goldbook demo
  goldbook demo --program cdnow")]
pub(crate) struct DemoArgs {
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    program_id: Option<String>,
    #[command(flatten)]
    client: ClientOptions,
}

/// Plays the demo.
///
/// # Errors
/// If the program has no fitting campaign, or the service does not answer or refuses.
pub(crate) async fn run(args: DemoArgs) -> Result<(), CliError> {
    let client = args.client.connect().await?;
    let program = client.choose_program(args.program_id.as_deref()).await?;
    let campaign = choose_campaign(&program)?.clone();
    let mut play = Play::new(client.clone(), program.clone());

    play.enrol("Demo Referrer", &play.referrer.clone()).await?;
    play.enrol("Demo Referee", &play.referee.clone()).await?;
    let code = play.create_code(&campaign).await?;
    let referral = play.refer(code).await?;
    let (purchase, amount, purchase_trace) = play.purchase(&referral, &campaign).await?;
    play.hold_and_capture().await;
    play.refund(&purchase, &amount).await;
    play.redeem_and_reverse().await?;
    print(heading(&format!("What happened, in {} ({})", program.display_name, program.program_id)))?;
    print(play.steps.trim_fmt())?;

    let mut reader = Reader::new(client, program)?;
    let mut written = 0;
    for (role, customer_id) in [("Referrer", &play.referrer), ("Referee", &play.referee)] {
        let statement = show_side(&mut reader, role, customer_id).await?;
        written += statement.entries.iter().filter(|entry| entry.trace_id == purchase_trace).count();
    }
    print(heading("Where to look next"))?;
    print(format_args!(
        "The purchase wrote {written} of these entries, on both accounts, in one transaction and\n\
         in one trace:\n  \
         {purchase_trace}\n\
         What support sees:\n  \
         goldbook customer {} --program {}",
        play.referee, reader.program.program_id
    ))
}

/// The first campaign whose referrals a purchase can convert now.
fn choose_campaign(program: &Program) -> Result<&Campaign, CliError> {
    let now = Timestamp::now();
    let is_active = |campaign: &Campaign| {
        let [starts, ends] =
            [&campaign.starts_at, &campaign.ends_at].map(|at| at.as_ref().and_then(instant::from_wire));
        starts.is_none_or(|starts| starts <= now) && ends.is_none_or(|ends| now < ends)
    };
    let fits = |campaign: &&Campaign| campaign.conversion() == Conversion::FirstPurchase && is_active(campaign);
    program.campaigns.iter().find(fits).ok_or_else(|| {
        CliError::failed(format_args!(
            "the program {} has no active campaign that converts by the first purchase, which the demo needs. \
             Add one to its document and apply it:\n\n\
             [[campaigns]]\n\
             campaign_id = \"friends\"\n\
             display_name = \"Bring a friend\"\n\
             conversion = \"first_purchase\"\n\
             referrer_points = 500\n\
             referee_points = 250",
            program.program_id
        ))
    })
}

/// The demo so far: its customers, and a table of what they did.
struct Play {
    client: Client,
    program: Program,
    referrer: String,
    referee: String,
    /// When the purchase happens, by the service's clock. This machine's clock may be ahead of it.
    purchased_at: Option<prost_types::Timestamp>,
    steps: Table,
}

impl Play {
    fn new(client: Client, program: Program) -> Self {
        // Both ids end alike, so that they are found together. The end is long enough that no two demos share it.
        let tail: String = Uuid::now_v7().simple().to_string().chars().rev().take(6).collect();
        let steps = output::table(["Step", "What came of it", "Trace"]);
        Self {
            client,
            program,
            referrer: format!("demo-referrer-{tail}"),
            referee: format!("demo-referee-{tail}"),
            purchased_at: None,
            steps,
        }
    }

    /// Adds a step to the table with its outcome and its trace. The trace's id comes in the answer's metadata.
    fn note<T>(
        &mut self,
        step: &str,
        answer: Result<Response<T>, Status>,
        outcome: impl FnOnce(&T) -> String,
    ) -> Result<(T, String), CliError> {
        let answer = answer.map_err(CliError::refused(&format!("cannot {step}")))?;
        let trace_id = trace_id(answer.metadata()).unwrap_or_default();
        let message = answer.into_inner();
        self.steps.add_row([step, &outcome(&message), &trace_id]);
        output::keep_whole(&mut self.steps, 2, trace_id.len());
        Ok((message, trace_id))
    }

    async fn enrol(&mut self, display_name: &str, customer_id: &str) -> Result<(), CliError> {
        let request = CreateCustomerRequest {
            program_id: self.program.program_id.clone(),
            customer: Some(Customer {
                customer_id: customer_id.to_owned(),
                display_name: display_name.to_owned(),
                ..Customer::default()
            }),
            idempotency_key: fresh_key(),
            returns: false,
        };
        let answer = self.client.customers().create_customer(Request::new(request)).await;
        self.note(&format!("enrol {display_name}"), answer, |_| customer_id.to_owned())?;
        Ok(())
    }

    /// Creates the referrer's code, and returns it.
    async fn create_code(&mut self, campaign: &Campaign) -> Result<String, CliError> {
        let request = CreateReferralCodeRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referrer.clone(),
            campaign_id: campaign.campaign_id.clone(),
        };
        let answer = self.client.referrals().create_referral_code(request).await;
        let show = |code: &str| format!("{code}, for {}", campaign.display_name);
        let (answer, _) = self.note("create a code", answer, |answer| {
            answer.referral_code.as_ref().map(|code| show(&code.code)).unwrap_or_default()
        })?;
        Ok(answer.referral_code.ok_or_else(incomplete_answer)?.code)
    }

    async fn refer(&mut self, code: String) -> Result<Referral, CliError> {
        let request = CreateReferralRequest {
            program_id: self.program.program_id.clone(),
            referee_customer_id: self.referee.clone(),
            code,
            idempotency_key: fresh_key(),
            enrol: false,
        };
        let answer = self.client.referrals().create_referral(request).await;
        let (answer, _) = self.note("refer", answer, |_| "the referee came by the code".to_owned())?;
        answer.referral.ok_or_else(incomplete_answer)
    }

    /// Records the referee's first purchase. Returns its id, its amount and its trace.
    async fn purchase(
        &mut self,
        referral: &Referral,
        campaign: &Campaign,
    ) -> Result<(String, Money, String), CliError> {
        self.purchased_at = referral.create_time;
        let activity_id = fresh_key();
        let amount = telling_amount(&self.program, campaign);
        let purchase = Purchase { amount: Some(amount.clone()), margin: None };
        let request = RecordActivityRequest {
            program_id: self.program.program_id.clone(),
            customer_id: self.referee.clone(),
            activity_id: activity_id.clone(),
            activity: Some(record_activity_request::Activity::Purchase(purchase)),
            happened_at: self.purchased_at,
            enrol: false,
            as_history: false,
        };
        let answer = self.client.activities().record_activity(request).await;
        let (answer, trace_id) = self.note("purchase", answer, |answer| {
            let mut outcome = format!("{}: {} points earned", show_money(&amount), grouped(answer.points_earned));
            if let Some(change) = &answer.tier_change {
                outcome.push_str(&format!(", now {}", change.to_tier_id));
            }
            if answer.referral_converted {
                outcome.push_str(", referral converted");
            }
            outcome
        })?;
        if !answer.referral_converted {
            return Err(CliError::failed("the purchase converted nothing"));
        }
        Ok((activity_id, amount, trace_id))
    }
}

/// An amount that converts the referral and reaches the second tier, so that the demo shows both.
fn telling_amount(program: &Program, campaign: &Campaign) -> Money {
    let wanted = program.tiers.get(1).and_then(|tier| tier.threshold.as_ref());
    let amounts = wanted.into_iter().chain(&campaign.minimum_purchase).map(Amount::from_money);
    let one = Money { currency_code: program.currency_code.clone(), units: 1, nanos: 0 };
    amounts.chain([Amount::from_money(&one)]).max().unwrap_or_default().to_money(&program.currency_code)
}

/// Shows what the program knows of one of the two customers.
async fn show_side(reader: &mut Reader, role: &str, customer_id: &str) -> Result<Statement, CliError> {
    let tier = reader.tier(customer_id).await?;
    let balance = reader.balance(customer_id).await?;
    let statement = reader.statement(customer_id, ALL_ENTRIES).await?;
    let mut facts = output::facts();
    reader.add_standing(&mut facts, &tier, &balance).await?;
    let names: Vec<&str> = tier.benefits.iter().map(|benefit| benefit.display_name.as_str()).collect();
    facts.add_row(["Benefits", &if names.is_empty() { "none".to_owned() } else { names.join(", ") }]);
    print(heading(&format!("{role}: {customer_id}")))?;
    print(facts.trim_fmt())?;
    print(reader.entry_table(&statement.entries, customer_id, true).await?.trim_fmt())?;
    Ok(statement)
}

fn fresh_key() -> String {
    Uuid::now_v7().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use goldbook_api::v1::Tier;

    fn campaign(conversion: Conversion, minimum: i64) -> Campaign {
        let minimum = Money { currency_code: "USD".to_owned(), units: minimum, nanos: 0 };
        Campaign { conversion: conversion.into(), minimum_purchase: Some(minimum), ..Campaign::default() }
    }

    fn program(campaigns: Vec<Campaign>, thresholds: &[i64]) -> Program {
        let money = |units| Some(Money { currency_code: "USD".to_owned(), units, nanos: 0 });
        let tiers = thresholds.iter().map(|units| Tier { threshold: money(*units), ..Tier::default() });
        Program { currency_code: "USD".to_owned(), tiers: tiers.collect(), campaigns, ..Program::default() }
    }

    #[test]
    fn the_purchase_converts_and_reaches_the_second_tier() {
        let minimum_of_10 = campaign(Conversion::FirstPurchase, 10);
        assert_eq!(telling_amount(&program(vec![], &[0, 200, 500]), &minimum_of_10).units, 200);
        assert_eq!(telling_amount(&program(vec![], &[0]), &minimum_of_10).units, 10);
        assert_eq!(telling_amount(&program(vec![], &[0]), &Campaign::default()).units, 1);
    }

    #[test]
    fn the_campaign_is_one_that_converts_by_purchase_and_is_active() {
        let past = Some(prost_types::Timestamp { seconds: 1, nanos: 0 });
        let ended = Campaign { ends_at: past, ..campaign(Conversion::FirstPurchase, 1) };
        let campaigns = vec![campaign(Conversion::Manual, 2), ended, campaign(Conversion::FirstPurchase, 3)];
        let program = program(campaigns, &[0]);
        assert_eq!(choose_campaign(&program).unwrap(), &program.campaigns[2]);
        let none = Program { campaigns: program.campaigns[..2].to_vec(), ..program };
        assert!(choose_campaign(&none).unwrap_err().to_string().contains("conversion = \"first_purchase\""));
    }
}
