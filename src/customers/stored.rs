//! A dossier as it is stored, whichever version wrote it.

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::model::Dossier;

/// What is to be stored of a dossier that is stored already. Fields that this version does not know stay, and so does
/// whatever is within a field that did not change. A field that changed is replaced whole.
///
/// # Errors
/// If what is stored is no dossier.
pub(crate) fn keep_unknown(stored: &Value, dossier: &Dossier) -> Result<Value, serde_json::Error> {
    let mut fields = to_fields(dossier)?;
    if let Value::Object(stored_fields) = stored {
        let before = to_fields(&Dossier::deserialize(stored)?)?;
        for (name, value) in stored_fields {
            // One that is not known is in neither.
            if before.get(name) == fields.get(name) {
                fields.insert(name.clone(), value.clone());
            }
        }
    }
    Ok(Value::Object(fields))
}

/// What is stored of a dossier beyond what this version knows: each field that holds something of it, whole.
///
/// # Errors
/// If the dossier cannot be serialized, which is a defect.
pub(crate) fn unknown_of(stored: &Value, dossier: &Dossier) -> Result<Map<String, Value>, serde_json::Error> {
    let known = to_fields(dossier)?;
    let Value::Object(fields) = stored else { return Ok(Map::new()) };
    let is_known = |name: &str, value: &Value| known.get(name) == Some(value);
    Ok(fields
        .iter()
        .filter(|(name, value)| !is_known(name, value))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect())
}

fn to_fields(dossier: &Dossier) -> Result<Map<String, Value>, serde_json::Error> {
    match serde_json::to_value(dossier)? {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored() -> Value {
        let date = json!({"year": 1980, "month": 2, "day": 29, "calendar": "julian"});
        json!({
            "given_name": "Anna",
            "email": "",
            "birth_date": date,
            "important_dates": [{"label": "wedding", "date": date, "colour": "red"}],
            "pets": {"dog": "Rex"},
        })
    }

    #[test]
    fn what_an_update_does_not_touch_stays_as_it_is_stored() {
        let mut dossier = Dossier::deserialize(&stored()).unwrap();
        assert_eq!(keep_unknown(&stored(), &dossier).unwrap(), stored());
        dossier.given_name.clear();
        dossier.family_name = "Meier".to_owned();
        dossier.important_dates.clear();
        let expected = json!({
            "family_name": "Meier",
            "email": "",
            "birth_date": stored()["birth_date"],
            "pets": {"dog": "Rex"},
        });
        assert_eq!(keep_unknown(&stored(), &dossier).unwrap(), expected);
    }

    #[test]
    fn what_is_not_known_is_told_with_what_it_is_within() {
        let dossier = Dossier::deserialize(&stored()).unwrap();
        let unknown = unknown_of(&stored(), &dossier).unwrap();
        assert_eq!(unknown.keys().collect::<Vec<_>>(), ["birth_date", "email", "important_dates", "pets"]);
        assert_eq!(unknown["birth_date"], stored()["birth_date"]);
        assert!(unknown_of(&keep_unknown(&Value::Null, &dossier).unwrap(), &dossier).unwrap().is_empty());
    }

    #[test]
    fn a_new_dossier_is_what_it_says() {
        let dossier = Dossier { given_name: "Anna".to_owned(), ..Dossier::default() };
        assert_eq!(keep_unknown(&Value::Null, &dossier).unwrap(), json!({"given_name": "Anna"}));
    }
}
