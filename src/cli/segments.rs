//! `goldbook segments`: how many customers are in a program's segments, and who.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use comfy_table::Table;
use goldbook_api::v1::count_segment_request::Policy as CountPolicy;
use goldbook_api::v1::list_segment_members_request::Policy as MembersPolicy;
use goldbook_api::v1::{CountSegmentRequest, CountSegmentResponse, ListSegmentMembersRequest, Program, Segment};
use goldbook_api::values::write_instant;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::client::{Client, ClientOptions, LARGEST_PAGE};
use super::error::CliError;
use super::instant;
use super::output::{self, grouped, print};
use super::program::Checked;

/// Show how many customers are in the segments of a program, and who.
///
/// Nobody is put into a segment: who is in it is found as it is asked, now, as of an instant, or by a document that is not
/// applied.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  goldbook segments count
  goldbook segments count quiet-regulars --as-of 2026-07-01
  goldbook segments count --try shop.toml
  goldbook segments members quiet-regulars > customers.txt")]
pub(crate) struct SegmentsArgs {
    #[command(subcommand)]
    command: SegmentsCommand,
}

#[derive(Debug, Subcommand)]
enum SegmentsCommand {
    Count(CountArgs),
    Members(MembersArgs),
}

/// Show how many customers are in each segment of a program, or in one.
#[derive(Debug, Args)]
struct CountArgs {
    /// The segment; all of the program, if absent.
    #[arg(value_name = "SEGMENT")]
    segment_id: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// List the customers of a segment, one on each line, in an order that means nothing.
#[derive(Debug, Args)]
struct MembersArgs {
    /// The segment.
    #[arg(value_name = "SEGMENT")]
    segment_id: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Debug, Args)]
struct CommonArgs {
    /// The program; may be left out where there is only one.
    #[arg(long = "program", value_name = "ID")]
    program_id: Option<String>,
    /// As of an instant such as 1997-01-18T15:30:00-05:00, or the beginning of a day such as 1997-01-18; now, if absent.
    #[arg(long, value_name = "INSTANT")]
    as_of: Option<String>,
    /// By the segments of a document, a TOML file, which need not be applied. Nothing is written.
    #[arg(long = "try", value_name = "FILE", conflicts_with = "program_id")]
    file: Option<PathBuf>,
    /// Print JSON: one object for each segment, or for each customer.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientOptions,
}

/// What is asked.
struct Asked {
    client: Client,
    zone: TimeZone,
    program: Program,
    as_of: Option<Timestamp>,
    /// The document that is tried, and its file.
    tried: Option<(Checked, PathBuf)>,
}

/// Runs `goldbook segments`.
///
/// # Errors
/// If the service does not answer or refuses.
pub(crate) async fn run(args: SegmentsArgs) -> Result<(), CliError> {
    match args.command {
        SegmentsCommand::Count(args) => count(args).await,
        SegmentsCommand::Members(args) => list_members(args).await,
    }
}

impl Asked {
    async fn new(common: &CommonArgs) -> Result<Self, CliError> {
        let read = |file: &Path| Ok::<_, CliError>((Checked::read_clean(file, "nothing was tried")?, file.to_owned()));
        let tried = common.file.as_deref().map(read).transpose()?;
        let client = common.client.connect().await?;
        let program = match &tried {
            Some((checked, _)) => checked.program.clone(),
            None => client.choose_program(common.program_id.as_deref()).await?,
        };
        let zone = instant::time_zone(&program.time_zone)?;
        let as_of = instant::parse_option("--as-of", common.as_of.as_deref(), &zone)?;
        Ok(Self { client, zone, program, as_of, tried })
    }

    /// What to say of a refusal: of a document that is tried, in the words of its file.
    fn refused(&self, attempt: &'static str) -> impl Fn(tonic::Status) -> CliError {
        move |status| {
            let refused = CliError::refused(attempt)(status);
            match &self.tried {
                Some((checked, file)) => checked.in_words(file, refused),
                None => refused,
            }
        }
    }

    async fn count(
        &self,
        segment_id: &str,
        as_of: Option<prost_types::Timestamp>,
    ) -> Result<CountSegmentResponse, CliError> {
        let request = CountSegmentRequest {
            program_id: self.program.program_id.clone(),
            segment_id: segment_id.to_owned(),
            as_of,
            policy: self.tried.is_some().then(|| CountPolicy::Program(self.program.clone())),
        };
        let answer = self.client.segments().count_segment(request).await;
        Ok(answer.map_err(self.refused("cannot count the segment"))?.into_inner())
    }
}

async fn count(args: CountArgs) -> Result<(), CliError> {
    let asked = Asked::new(&args.common).await?;
    let named = |segment_id: &String| {
        let known = asked.program.segments.iter().find(|segment| segment.segment_id == *segment_id).cloned();
        known.unwrap_or_else(|| Segment { segment_id: segment_id.clone(), ..Segment::default() })
    };
    let segments = args.segment_id.as_ref().map_or_else(|| asked.program.segments.clone(), |id| vec![named(id)]);
    if segments.is_empty() && !args.common.json {
        return print("The program has no segments: its document names them in [[segments]].");
    }
    let mut table = output::table(["Segment", "Name", "Customers", "Of", "As of"]);
    // All of one instant: that of the first.
    let mut as_of = asked.as_of.map(write_instant);
    for segment in segments {
        let found = match asked.count(&segment.segment_id, as_of).await {
            // The version of that time had no such segment yet.
            Err(CliError::Refused { refusal, .. })
                if args.segment_id.is_none() && refusal.reason() == Some("SEGMENT_NOT_FOUND") =>
            {
                eprintln!("{} was not there yet", segment.segment_id);
                continue;
            }
            found => found?,
        };
        as_of = found.as_of;
        if args.common.json {
            print(write_size(&segment.segment_id, &found))?;
        } else {
            add_size(&mut table, &segment, &found, &asked.zone);
        }
    }
    if args.common.json { Ok(()) } else { print(table.trim_fmt()) }
}

fn add_size(table: &mut Table, segment: &Segment, found: &CountSegmentResponse, zone: &TimeZone) {
    let of = match found.customers_left_out {
        0 => grouped(found.customers),
        left_out => format!("{}, {} left out", grouped(found.customers), grouped(left_out)),
    };
    let as_of = instant::show(found.as_of.as_ref(), zone);
    table.add_row([&segment.segment_id, &segment.display_name, &grouped(found.members), &of, &as_of]);
}

fn write_size(segment_id: &str, found: &CountSegmentResponse) -> Value {
    json!({
        "segment_id": segment_id,
        "as_of": instant::write(found.as_of.as_ref()),
        "members": found.members,
        "customers": found.customers,
        "customers_left_out": found.customers_left_out,
    })
}

async fn list_members(args: MembersArgs) -> Result<(), CliError> {
    let asked = Asked::new(&args.common).await?;
    let mut page_token = String::new();
    loop {
        let request = ListSegmentMembersRequest {
            program_id: asked.program.program_id.clone(),
            segment_id: args.segment_id.clone(),
            as_of: asked.as_of.map(write_instant),
            policy: asked.tried.is_some().then(|| MembersPolicy::Program(asked.program.clone())),
            page_size: LARGEST_PAGE,
            page_token,
        };
        let answer = asked.client.segments().list_segment_members(request).await;
        let page = answer.map_err(asked.refused("cannot list the customers of the segment"))?.into_inner();
        for member in &page.members {
            if args.common.json {
                print(json!({"customer_id": member.customer_id}))?;
            } else {
                print(&member.customer_id)?;
            }
        }
        if page.customers_left_out > 0 {
            let left_out = grouped(page.customers_left_out);
            eprintln!("{left_out} customers were left out: the log of the service says why");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_told_in_a_table_and_as_json() {
        let segment = Segment { segment_id: "quiet".to_owned(), display_name: "Quiet".to_owned(), clauses: Vec::new() };
        let as_of = Some(prost_types::Timestamp { seconds: 0, nanos: 0 });
        let found = CountSegmentResponse { as_of, members: 1_234, customers: 5_678, customers_left_out: 2 };
        let mut table = output::table(["Segment", "Name", "Customers", "Of", "As of"]);
        add_size(&mut table, &segment, &found, &TimeZone::UTC);
        let shown = table.trim_fmt();
        let row = shown.lines().map(str::trim).find(|line| line.starts_with("quiet")).unwrap_or_default();
        assert!(row.contains("1,234") && row.contains("5,678, 2 left out"), "{shown}");
        let expected = json!({"segment_id": "quiet", "as_of": "1970-01-01T00:00:00Z", "members": 1234,
            "customers": 5678, "customers_left_out": 2});
        assert_eq!(write_size("quiet", &found), expected);
    }
}
