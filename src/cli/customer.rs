//! `goldbook customer`: shows what the book knows of one customer, on one screen, or gives all of it.

mod export;
mod relation;
mod standing_json;

use clap::{Args, Subcommand};
use comfy_table::Table;
use goldbook_api::google::{Date, PostalAddress};
use goldbook_api::v1::{
    CommunicationStyle, Customer, Entitlement, EntitlementRight, GetCustomerRequest, GetReferralRequest,
    ListCustomerBenefitsRequest, ListReferralsRequest, Referral, ReferralState,
};
use jiff::tz::TimeZone;

use self::relation::Relation;
use super::client::{Client, ClientOptions, LARGEST_PAGE, found, incomplete_answer};
use super::error::CliError;
use super::instant;
use super::output::{self, grouped, heading, print, words};
use super::statement::Reader;

/// How many entries one screen has room for.
const LAST_ENTRIES: usize = 10;

/// Show what the book knows about one customer, on one screen.
///
/// Who they are, the tier they hold and why, what is missing to the next, what they are entitled to, their points,
/// where they stand in the relationship, how satisfied they are, their open complaints, what they bought and will buy,
/// their referrals, and the last entries on their account.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "Examples:
  goldbook customer C0001
  goldbook customer C0001 --program cdnow | less
  goldbook customer C0001 --json                 the standing and the balance for other tools
  goldbook customer export --program cdnow --customer C0001 --output C0001.json")]
pub(crate) struct CustomerArgs {
    #[command(subcommand)]
    command: Option<CustomerCommand>,
    #[command(flatten)]
    show: ShowArgs,
}

/// What else can be done with one customer.
#[derive(Debug, Subcommand)]
enum CustomerCommand {
    Export(export::ExportArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The business's own id of the customer.
    #[arg(value_name = "CUSTOMER", required = true)]
    customer_id: Option<String>,
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    program_id: Option<String>,
    /// Print one JSON object: the tier, the ways to keep it and to the next one, what becomes of it, the balance, and the
    /// relationship.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

/// Runs `goldbook customer`.
///
/// # Errors
/// If there is no such customer, or the service does not answer or refuses.
pub(crate) async fn run(args: CustomerArgs) -> Result<(), CliError> {
    match args.command {
        Some(CustomerCommand::Export(args)) => export::run(args).await,
        None => show(args.show).await,
    }
}

async fn show(args: ShowArgs) -> Result<(), CliError> {
    // It is required where there is no subcommand.
    let customer_id = args.customer_id.unwrap_or_default();
    let client = args.client.connect().await?;
    let program = client.choose_program(args.program_id.as_deref()).await?;
    let scope = (program.program_id.clone(), customer_id.clone());
    let mut reader = Reader::new(client.clone(), program)?;

    let (customer, account_id) = dossier(&client, scope.clone()).await?;
    let tier = reader.tier(&customer_id).await?;
    let balance = reader.balance(&customer_id).await?;
    let relation = Relation::read(&client, scope.clone()).await?;
    if args.json {
        let mut written = standing_json::write_standing(&reader.program.program_id, &account_id, &tier, &balance);
        if let Some(written) = written.as_object_mut() {
            written.insert("relation".to_owned(), relation.write());
        }
        return print(written);
    }
    let entitlements = entitlements(&client, scope.clone()).await?;
    let (brought_by, brought) = referrals(&client, scope).await?;
    let statement = reader.statement(&customer_id, LAST_ENTRIES).await?;

    let mut facts = output::facts();
    let enrolled = instant::show(customer.create_time.as_ref(), &reader.zone);
    let program = &reader.program;
    facts.add_row(["Customer", &customer_id]);
    facts.add_row(["Program", &format!("{} ({}), enrolled {enrolled}", program.display_name, program.program_id)]);
    facts.add_row(["Account", &account_id]);
    add_dossier(&mut facts, &customer);
    reader.add_standing(&mut facts, &tier, &balance).await?;
    facts.add_row(["Benefits", &show_entitlements(&entitlements, &reader.zone)]);
    relation.add_to(&mut facts, &reader.zone);
    if let Some(referral) = &brought_by {
        facts.add_row(["Brought by", &show_referral(referral, &referral.referrer_customer_id, &reader)]);
    }
    if !brought.is_empty() {
        facts.add_row(["Has brought", &show_brought(&brought)]);
    }
    print(facts.trim_fmt())?;

    let shown = statement.entries.len();
    let of_all = match statement.earlier {
        0 => String::new(),
        earlier => format!(" of {}", grouped(i128::try_from(earlier + shown).unwrap_or(i128::MAX))),
    };
    print(heading(&format!("Last {shown} entries{of_all}; times in {}", reader.program.time_zone)))?;
    print(reader.entry_table(&statement.entries, &customer_id, false).await?.trim_fmt())
}

async fn dossier(client: &Client, scope: (String, String)) -> Result<(Customer, String), CliError> {
    let (program_id, customer_id) = scope;
    let answer = client.customers().get_customer(GetCustomerRequest { program_id, customer_id }).await;
    let answer = answer.map_err(CliError::refused("cannot read the customer"))?.into_inner();
    Ok((answer.customer.ok_or_else(incomplete_answer)?, answer.account_id))
}

async fn entitlements(client: &Client, scope: (String, String)) -> Result<Vec<Entitlement>, CliError> {
    let (program_id, customer_id) = scope;
    // A tier gives at most 100, and a customer has at most 256 grants at a time.
    let request =
        ListCustomerBenefitsRequest { program_id, customer_id, page_size: LARGEST_PAGE, ..Default::default() };
    let answer = client.benefits().list_customer_benefits(request).await;
    Ok(answer.map_err(CliError::refused("cannot read the customer's benefits"))?.into_inner().entitlements)
}

/// Reads the referral that brought the customer, and those of the customers whom they brought.
async fn referrals(client: &Client, scope: (String, String)) -> Result<(Option<Referral>, Vec<Referral>), CliError> {
    const ATTEMPT: &str = "cannot read the customer's referrals";

    let (program_id, customer_id) = scope;
    let request = GetReferralRequest { program_id: program_id.clone(), referee_customer_id: customer_id.clone() };
    let brought_by = found(client.referrals().get_referral(request).await, ATTEMPT)?;
    let request = ListReferralsRequest {
        program_id,
        referrer_customer_id: customer_id,
        page_size: LARGEST_PAGE,
        ..Default::default()
    };
    let brought = client.referrals().list_referrals(request).await;
    let brought = brought.map_err(CliError::refused(ATTEMPT))?.into_inner().referrals;
    Ok((brought_by.and_then(|answer| answer.referral), brought))
}

/// Adds the fields of the dossier that are not empty.
fn add_dossier(facts: &mut Table, customer: &Customer) {
    let full_name = format!("{} {}", customer.given_name, customer.family_name);
    let consents: Vec<String> = customer
        .marketing_consents
        .iter()
        .map(|consent| {
            let answer = if consent.granted { "yes" } else { "no" };
            format!("{} {answer}", words(consent.channel().as_str_name(), "MARKETING_CHANNEL_"))
        })
        .collect();
    let dates: Vec<String> = customer
        .important_dates
        .iter()
        .map(|important| format!("{} {}", important.label, important.date.as_ref().map(show_date).unwrap_or_default()))
        .collect();
    let attributes: Vec<String> = customer.attributes.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    let style = match customer.communication_style() {
        CommunicationStyle::Unspecified => String::new(),
        style @ (CommunicationStyle::Driver
        | CommunicationStyle::Expressive
        | CommunicationStyle::Amiable
        | CommunicationStyle::Analytical) => words(style.as_str_name(), "COMMUNICATION_STYLE_"),
    };
    for (name, value) in [
        ("Name", customer.display_name.as_str()),
        ("Full name", full_name.trim()),
        ("E-mail", &customer.email),
        ("Phone", &customer.phone),
        ("Address", &customer.address.as_ref().map(show_address).unwrap_or_default()),
        ("Locale", &customer.locale),
        ("Language", &customer.language),
        ("Birth date", &customer.birth_date.as_ref().map(show_date).unwrap_or_default()),
        ("Dates", &dates.join(", ")),
        ("Interests", &customer.interests.join(", ")),
        ("Style", &style),
        ("Marketing", &consents.join(", ")),
        ("Attributes", &attributes.join("\n")),
    ] {
        if !value.is_empty() {
            facts.add_row([name, value]);
        }
    }
}

/// An address on one line, its most specific part first and without empty parts.
fn show_address(address: &PostalAddress) -> String {
    let place = format!("{} {}", address.postal_code, address.locality);
    let parts = address.recipients.iter().map(String::as_str).chain([address.organization.as_str()]);
    let parts = parts.chain(address.address_lines.iter().map(String::as_str)).chain([
        address.sublocality.as_str(),
        place.trim(),
        &address.administrative_area,
        &address.region_code,
    ]);
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

/// A date as ISO 8601 writes it, without the year if that is not known.
fn show_date(date: &Date) -> String {
    match date.year {
        0 => format!("--{:02}-{:02}", date.month, date.day),
        year => format!("{year:04}-{:02}-{:02}", date.month, date.day),
    }
}

/// A line for each entitlement; a grant has its end and the id by which it is used or revoked.
fn show_entitlements(entitlements: &[Entitlement], zone: &TimeZone) -> String {
    let lines = entitlements.iter().filter_map(|it| {
        let benefit = it.benefit.as_ref()?;
        let left = it.left.map(|left| format!(" ({left} left)")).unwrap_or_default();
        let mut line = format!("{}{left}", benefit.display_name);
        let how = match it.right() {
            EntitlementRight::Grant => Some("granted".to_owned()),
            EntitlementRight::Package => Some(format!("from the package {}", it.package_id)),
            EntitlementRight::Tier | EntitlementRight::Unspecified => None,
        };
        if let Some(how) = how {
            let until = it.until.as_ref().map(|until| format!(" until {}", instant::show(Some(until), zone)));
            line.push_str(&format!(", {how}{} as {}", until.unwrap_or_default(), it.entry_id));
        }
        if !benefit.description.is_empty() {
            line.push_str(&format!(": {}", benefit.description));
        }
        Some(line)
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { "none".to_owned() } else { lines.join("\n") }
}

fn show_referral(referral: &Referral, other: &str, reader: &Reader) -> String {
    let when = match referral.state() {
        ReferralState::Converted => instant::show(referral.convert_time.as_ref(), &reader.zone),
        ReferralState::Unspecified | ReferralState::Pending | ReferralState::Expired => {
            instant::show(referral.create_time.as_ref(), &reader.zone)
        }
    };
    let state = words(referral.state().as_str_name(), "REFERRAL_STATE_");
    format!("{other}, campaign {}: {state}, {when}", referral.campaign_id)
}

/// How many customers were brought, by state. Of more than a thousand, only the latest thousand are counted.
fn show_brought(brought: &[Referral]) -> String {
    let mut text = brought.len().to_string();
    for state in [ReferralState::Converted, ReferralState::Pending, ReferralState::Expired] {
        let count = brought.iter().filter(|referral| referral.state() == state).count();
        if count > 0 {
            text.push_str(&format!(", {count} {}", words(state.as_str_name(), "REFERRAL_STATE_")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use goldbook_api::v1::Benefit;

    use super::*;

    #[test]
    fn only_what_is_in_the_dossier_is_shown() {
        let customer = Customer {
            given_name: "Ada".to_owned(),
            birth_date: Some(Date { year: 0, month: 2, day: 9 }),
            address: Some(PostalAddress {
                region_code: "CH".to_owned(),
                locality: "Bern".to_owned(),
                address_lines: vec!["Hauptgasse 1".to_owned()],
                ..PostalAddress::default()
            }),
            ..Customer::default()
        };
        let mut facts = output::facts();
        add_dossier(&mut facts, &customer);
        let shown = facts.trim_fmt();
        let lines: Vec<&str> = shown.lines().map(str::trim).collect();
        assert_eq!(lines, ["Full name   Ada", "Address     Hauptgasse 1, Bern, CH", "Birth date  --02-09"]);
    }

    #[test]
    fn those_brought_are_counted_by_state() {
        let referral = |state: ReferralState| Referral { state: state.into(), ..Referral::default() };
        let brought = [ReferralState::Pending, ReferralState::Converted, ReferralState::Converted].map(referral);
        assert_eq!(show_brought(&brought), "3, 2 converted, 1 pending");
    }

    #[test]
    fn what_was_granted_is_told_from_what_the_tier_gives() {
        let named = |name: &str, description: &str| {
            Some(Benefit { display_name: name.to_owned(), description: description.to_owned(), ..Benefit::default() })
        };
        let of_tier = Entitlement { benefit: named("Lounge", "At the gate"), left: Some(3), ..Entitlement::default() };
        let granted = Entitlement {
            benefit: named("Lounge", ""),
            left: Some(1),
            right: EntitlementRight::Grant.into(),
            until: Some(prost_types::Timestamp { seconds: 852_094_800, nanos: 0 }),
            entry_id: "1.7".to_owned(),
            ..Entitlement::default()
        };
        let for_ever = Entitlement { until: None, left: None, ..granted.clone() };
        let expected = [
            "Lounge (3 left): At the gate",
            "Lounge (1 left), granted until 1997-01-01 05:00:00 UTC as 1.7",
            "Lounge, granted as 1.7",
        ];
        assert_eq!(show_entitlements(&[of_tier, granted, for_ever], &TimeZone::UTC), expected.join("\n"));
        assert_eq!(show_entitlements(&[], &TimeZone::UTC), "none");
    }
}
