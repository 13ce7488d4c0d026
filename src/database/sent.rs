//! Rows as a statement is sent them: an array of one composite type, and not an array for each column. Postgres keeps
//! what it makes of each array in a place of its own, so twenty of them take longer than the row that they make up.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// Lets a struct that encodes a record be sent as a value, and in an array, of a composite type that a migration makes.
/// Its fields are the type's columns, in order.
macro_rules! sent_as {
    ($row:ty, $name:literal) => {
        impl sqlx::Type<sqlx::Postgres> for $row {
            fn type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::with_name($name)
            }
        }

        impl sqlx::postgres::PgHasArrayType for $row {
            fn array_type_info() -> sqlx::postgres::PgTypeInfo {
                sqlx::postgres::PgTypeInfo::array_of($name)
            }
        }
    };
}
pub(crate) use sent_as;

/// Postgres's own number of its type `json`.
const JSON: Oid = Oid(114);

/// JSON that is kept as this very text, in a column of `json`.
pub(crate) struct JsonText(pub(crate) String);

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_oid(JSON)
    }
}

impl Encode<'_, Postgres> for JsonText {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}
