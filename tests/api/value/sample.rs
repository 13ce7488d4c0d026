//! The published figures of the CDNOW sample, by the program's own commands on real purchases.

use goldbook::embedded_postgres::SERVICE_ROLE;
use goldbook::proto;

use super::day;
use crate::binary::Serving;
use crate::harness::{Database, Service, at};
use crate::sample::{PROGRAM, PURCHASES, succeed};

fn is_about(found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{found} is not within {tolerance} of {expected}");
}

#[tokio::test]
async fn a_model_fitted_to_the_sample_comes_to_the_published_figures() {
    let database = Database::create().await;
    let serving = Serving::start(&database.options(SERVICE_ROLE), &[]).await;
    let address = format!("http://{}", serving.address);
    succeed(&["program", "apply", "--address", &address, PROGRAM]).await;
    succeed(&["import", "purchases", "--address", &address, "--program", "cdnow", PURCHASES]).await;
    let fit = ["value", "fit", "--address", &address, "--until", "1998-07-01", "--holdout-days", "273"];
    let shown = succeed(&fit).await;
    for fact in ["2,357 customers", "r 0.2426", "alpha 4.414", "a 0.793", "b 2.426", "p 6.25", "q 3.74", "gamma 15.44"]
    {
        assert!(shown.contains(fact), "{fact} in {shown}");
    }
    let service = Service::at(serving.address, database.clone()).await;
    let request = proto::GetValueModelRequest { program_id: "cdnow".to_owned(), version: 0 };
    let model = service.value().get_value_model(request).await.unwrap().into_inner().model.unwrap();
    assert_eq!((model.version, model.customers, model.repeat_buyers), (1, 2_357, 946));
    assert_eq!((model.from, model.until), (None, day(1997, 10, 1)));
    let purchases = model.purchases.unwrap();
    is_about(purchases.r, 0.2426, 0.00005);
    is_about(purchases.alpha, 4.414, 0.0005);
    is_about(purchases.a, 0.793, 0.0005);
    is_about(purchases.b, 2.426, 0.0005);
    is_about(purchases.log_likelihood, -9_582.43, 0.005);
    let spend = model.spend.unwrap();
    is_about(spend.p, 6.25, 0.005);
    is_about(spend.q, 3.74, 0.005);
    is_about(spend.gamma, 15.44, 0.005);
    assert_eq!(spend.customers, 946);
    // What customers did in the 39 weeks after.
    let holdout = model.holdout.unwrap();
    assert_eq!((holdout.days, holdout.purchase_days), (273, 1_882));
    // The sum of what the papers expect of each of them, as another program calculates it.
    is_about(holdout.expected_purchase_days, 1_653.36, 0.5);
    is_about(holdout.mean_error, 0.7855, 0.0005);

    // The customer of the papers: two days more, the last after 30.43 weeks of 38.86.
    let value = async |as_of: &str| {
        let request = proto::GetCustomerValueRequest {
            program_id: "cdnow".to_owned(),
            customer_id: "C0001".to_owned(),
            as_of: Some(at(as_of)),
        };
        service.value().get_customer_value(request).await.unwrap().into_inner()
    };
    let then = value("1997-09-30T23:00:00Z").await;
    assert_eq!((then.purchase_days, then.last_purchase_on), (3, day(1997, 8, 2)));
    assert_eq!((then.days_since_last_purchase, then.forecast), (59, None));

    let backtest = ["value", "backtest", "--address", &address, "--until", "1998-07-01", "--holdout-days", "273"];
    let shown = succeed(&[&backtest[..], &["--json"]].concat()).await;
    let told: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((told["customers"].as_i64(), told["left"].as_i64()), (Some(2_357), Some(1_673)));
    let plain = &told["plain_rule"];
    assert_eq!((plain["warned"].as_i64(), plain["right"].as_i64()), (Some(1_946), Some(1_549)), "{shown}");
    let lift = |rule: &str| told[rule]["lift"].as_f64().unwrap();
    // Whoever bought on one day alone is a customer for the model, and most of them never came again.
    assert!(lift("expected_rule") > lift("plain_rule") && lift("plain_rule") > 1.0, "{shown}");
    assert!(lift("alive_rule") < 1.0, "{shown}");

    let screen = succeed(&["customer", "--address", &address, "C0001"]).await;
    // A long row is broken where the screen ends.
    let screen = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    for fact in ["4 on 4 days for 100.50 USD", "of the next 365 days, worth ", "still a customer by "] {
        assert!(screen.contains(fact), "{fact} in {screen}");
    }
    let json = succeed(&["customer", "--address", &address, "C0001", "--json"]).await;
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(told["relation"]["purchase_days"], 4);
    assert_eq!(told["relation"]["forecast"]["model_version"], 1);
    let classes = ["value", "scores", "--address", &address, "--until", "1998-01-01", "--after-days", "180"];
    let shown = succeed(&classes).await;
    assert!(shown.contains("2,357 customers who had bought before 1998-01-01"), "{shown}");
    let months = ["value", "retention", "--address", &address, "--from", "1997-01-01", "--until", "1998-07-01"];
    let shown = succeed(&months).await;
    // All of them came in the first three months.
    let cohorts: Vec<&str> = shown.lines().filter(|line| line.contains("  100")).collect();
    assert_eq!(cohorts.len(), 3, "{shown}");
}
