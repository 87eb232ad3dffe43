use std::collections::BTreeMap;

use cel::{
    ExecutionError,
    common::{
        traits::{Container, Indexer},
        types::{CelBool, CelDouble, CelList, CelString, DYN_TYPE, Type},
        value::{CowVal, Val},
    },
    context::VariableResolver,
};

use crate::decision::{
    Request, Source,
    source::{Listed, Pressure},
};

/// Fields of `request`.
pub(super) const REQUEST: [&str; 9] =
    ["method", "host", "path", "headers", "consumer", "route", "tls", "client", "direct"];
/// Fields of `source`.
pub(super) const SOURCE: [&str; 7] = ["listed", "lists", "banned", "used", "over", "soft", "risk"];

/// The variables of conditions. Nothing is copied before a condition asks for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'r> {
    pub(super) request: &'r Request,
    pub(super) source: &'r Source,
}

impl VariableResolver for Facts<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        match variable {
            "request" => Some(CowVal::owned(Fields::Request(self.request))),
            "source" => Some(CowVal::owned(Fields::Source(self.source))),
            _ => None,
        }
    }
}

/// Something with fields.
#[derive(Clone, Copy, Debug)]
enum Fields<'r> {
    Request(&'r Request),
    Source(&'r Source),
    Headers(&'r BTreeMap<String, String>),
}

impl<'r> Fields<'r> {
    fn field<'v>(self, name: &str) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        'r: 'v,
    {
        match self {
            Self::Request(request) => request_field(request, name),
            Self::Source(source) => source_field(source, name),
            Self::Headers(headers) => Ok(text(find(headers, name).unwrap_or_default())),
        }
    }
}

/// Names of headers are in lower case; a condition may write them as it likes.
fn find<'r>(headers: &'r BTreeMap<String, String>, name: &str) -> Option<&'r str> {
    let found = headers.get(name).or_else(|| headers.get(&name.to_ascii_lowercase()));
    found.map(String::as_str)
}

fn text<'v>(text: &'v str) -> Box<dyn Val + 'v> {
    Box::new(CelString::from(text))
}

fn request_field<'v>(request: &'v Request, name: &str) -> Result<Box<dyn Val + 'v>, ExecutionError> {
    Ok(match name {
        "method" => text(&request.method),
        "host" => text(&request.host),
        "path" => text(&request.path),
        "headers" => Box::new(Fields::Headers(&request.headers)),
        "consumer" => text(request.consumer.as_deref().unwrap_or_default()),
        "route" => text(request.route.as_deref().unwrap_or_default()),
        "tls" => text(request.tls.as_deref().unwrap_or_default()),
        "client" => Box::new(CelString::from(request.client.address.to_string())),
        "direct" => Box::new(CelBool::from(request.client.direct)),
        _ => return Err(ExecutionError::no_such_key(name)),
    })
}

fn source_field<'v>(source: &'v Source, name: &str) -> Result<Box<dyn Val + 'v>, ExecutionError> {
    Ok(match name {
        // As text: "" is nowhere, so that `source.listed != ""` reads as it is meant.
        "listed" => text(if source.listed == Listed::Nowhere { "" } else { source.listed.as_str() }),
        "lists" => Box::new(CelList::from(source.lists.iter().map(|list| text(list)).collect::<Vec<_>>())),
        "banned" => Box::new(CelBool::from(source.ban.is_some_and(|ban| !ban.shadow))),
        "used" => Box::new(CelDouble::from(source.used)),
        "over" => Box::new(CelBool::from(source.pressure == Pressure::Over)),
        "soft" => Box::new(CelBool::from(source.pressure >= Pressure::Soft)),
        "risk" => Box::new(CelDouble::from(source.risk)),
        _ => return Err(ExecutionError::no_such_key(name)),
    })
}

/// Returns what stands between brackets or behind a dot.
fn name_of(index: &dyn Val) -> Result<String, ExecutionError> {
    let name = index.downcast_ref::<CelString<'_>>();
    name.map(|name| name.inner().to_owned()).ok_or_else(|| ExecutionError::UnexpectedType {
        got: index.get_type().name().to_owned(),
        want: "string".to_owned(),
    })
}

impl Val for Fields<'_> {
    fn get_type(&self) -> &Type {
        &DYN_TYPE
    }

    fn cel_type() -> &'static Type
    where
        Self: Sized,
    {
        &DYN_TYPE
    }

    fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn into_indexer<'v>(self: Box<Self>) -> Option<Box<dyn Indexer + 'v>>
    where
        Self: 'v,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        matches!(self, Self::Headers(_)).then_some(self)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(*self)
    }
}

impl Indexer for Fields<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.field(&name_of(index)?).map(CowVal::Owned)
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.field(&name_of(index)?)
    }
}

impl Container for Fields<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        let name = name_of(value)?;
        Ok(matches!(self, Self::Headers(headers) if find(headers, &name).is_some()))
    }
}
