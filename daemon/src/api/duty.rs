//! How the OpenAPI description shows a duty, which is a type of the engine.

use std::borrow::Cow;

use squire_engine::planner::Duty;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// The schema of [`Duty`].
pub(crate) struct DutySchema;

impl PartialSchema for DutySchema {
    fn schema() -> RefOr<Schema> {
        let duty = ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some("What is done for a table."))
            .enum_values(Some(Duty::ALL.map(Duty::as_str)));
        duty.build().into()
    }
}

impl ToSchema for DutySchema {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Duty")
    }
}
