//! Calls that many tests make, with what most leave as it is.

use goldbook::embedded_postgres::{OWNER_ROLE, SUPERUSER};
use goldbook::proto;
use tonic::Status;

use super::SHOP;
use super::requests::{at, create_customer, create_referral, grant_reward, purchase, shop};
use super::service::Service;

impl Service {
    /// Applies [`shop`].
    pub(crate) async fn apply_shop(&self) {
        self.apply(shop()).await.unwrap();
    }

    pub(crate) async fn apply(&self, program: proto::Program) -> Result<proto::ApplyProgramResponse, Status> {
        let request = proto::ApplyProgramRequest { program: Some(program), ..Default::default() };
        Ok(self.programs().apply_program(request).await?.into_inner())
    }

    /// Makes a customer's balance look as if so many points had been granted and spent. No test can grant so many, and the
    /// entries do not tell of them.
    pub(crate) async fn fill_up(&self, customer_id: &str, points: i64) {
        let mut connection = self.database.connect(SUPERUSER).await;
        let fill = "UPDATE accounts SET issued = issued + $2, redeemed = redeemed + $2 FROM names
                    WHERE names.account_id = accounts.account_id AND names.space = 'customer' AND names.name = $1";
        let filled = sqlx::query(fill).bind(customer_id).bind(points).execute(&mut connection).await.unwrap();
        assert_eq!(filled.rows_affected(), 1);
    }

    /// Enrols a customer of whom nothing is known.
    pub(crate) async fn enrol(&self, customer_id: &str) {
        let request = create_customer(customer_id, &format!("enrol-{customer_id}"));
        self.customers().create_customer(request).await.unwrap();
    }

    /// Enrols a customer and makes their code.
    pub(crate) async fn share_code(&self, customer_id: &str, campaign_id: &str) -> String {
        self.enrol(customer_id).await;
        let request = proto::CreateReferralCodeRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            campaign_id: campaign_id.to_owned(),
        };
        let response = self.referrals().create_referral_code(request).await.unwrap().into_inner();
        response.referral_code.unwrap().code
    }

    /// Attaches and enrols a new customer.
    pub(crate) async fn refer(&self, referee: &str, code: &str) -> proto::Referral {
        let response = self.referrals().create_referral(create_referral(referee, code)).await.unwrap();
        response.into_inner().referral.unwrap()
    }

    /// A purchase that happens now, by a customer who is enrolled if unknown.
    pub(crate) async fn purchase(
        &self,
        customer_id: &str,
        activity_id: &str,
        amount: &str,
    ) -> Result<proto::RecordActivityResponse, Status> {
        let request = purchase(customer_id, activity_id, amount, self.clock.now());
        Ok(self.activities().record_activity(request).await?.into_inner())
    }

    pub(crate) async fn grant(
        &self,
        customer_id: &str,
        points: i64,
        key: &str,
    ) -> Result<proto::GrantRewardResponse, Status> {
        Ok(self.rewards().grant_reward(grant_reward(customer_id, points, key)).await?.into_inner())
    }

    pub(crate) async fn balance(&self, customer_id: &str) -> proto::Balance {
        let request =
            proto::GetBalanceRequest { program_id: SHOP.to_owned(), customer_id: customer_id.to_owned(), as_of: None };
        self.rewards().get_balance(request).await.unwrap().into_inner().balance.unwrap()
    }

    pub(crate) async fn available(&self, customer_id: &str) -> i64 {
        self.balance(customer_id).await.available
    }

    pub(crate) async fn tier(&self, customer_id: &str) -> proto::CustomerTier {
        let request = proto::GetCustomerTierRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            as_of: None,
        };
        self.tiers().get_customer_tier(request).await.unwrap().into_inner().customer_tier.unwrap()
    }

    /// Every entry of a customer, the oldest first.
    pub(crate) async fn entries(&self, customer_id: &str) -> Vec<proto::Entry> {
        let mut request = proto::ListEntriesRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let mut entries = Vec::new();
        loop {
            let page = self.ledger().list_entries(request.clone()).await.unwrap().into_inner();
            entries.extend(page.entries);
            if page.next_page_token.is_empty() {
                return entries;
            }
            request.page_token = page.next_page_token;
        }
    }

    /// A customer's tier at an instant.
    pub(crate) async fn tier_at(&self, customer_id: &str, as_of: &str) -> Result<proto::CustomerTier, Status> {
        let request = proto::GetCustomerTierRequest {
            program_id: SHOP.to_owned(),
            customer_id: customer_id.to_owned(),
            as_of: Some(at(as_of)),
        };
        Ok(self.tiers().get_customer_tier(request).await?.into_inner().customer_tier.unwrap())
    }

    /// The referral by which a customer was brought.
    pub(crate) async fn referral(&self, referee: &str) -> proto::Referral {
        let request =
            proto::GetReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: referee.to_owned() };
        self.referrals().get_referral(request).await.unwrap().into_inner().referral.unwrap()
    }

    pub(crate) async fn convert(&self, referee: &str) -> Result<proto::ConvertReferralResponse, Status> {
        let request =
            proto::ConvertReferralRequest { program_id: SHOP.to_owned(), referee_customer_id: referee.to_owned() };
        Ok(self.referrals().convert_referral(request).await?.into_inner())
    }

    /// The kinds of a customer's entries, the oldest first.
    pub(crate) async fn kinds(&self, customer_id: &str) -> Vec<proto::EntryKind> {
        self.entries(customer_id).await.iter().map(proto::Entry::kind).collect()
    }

    /// How many rows the whole ledger has.
    pub(crate) async fn count_entries(&self) -> i64 {
        let mut connection = self.database.connect(OWNER_ROLE).await;
        sqlx::query_scalar("SELECT count(*) FROM ledger_entries").fetch_one(&mut connection).await.unwrap()
    }
}
