use std::{collections::HashMap, fmt, net::IpAddr, sync::Arc};

use cel::{
    Context, ExecutionError, FunctionContext, IdedExpr, Value,
    common::{
        types::{CelBool, CelString},
        value::CowVal,
    },
    parser::Parser,
};
use ipnet::IpNet;
use regex::{Regex, RegexBuilder};

use super::{
    facts::Facts,
    inspect::{self, Inspected},
};
use crate::decision::{Client, Request, Source};

/// Longest expression, in bytes.
pub const BYTES_MAX: usize = 1024;
/// Deepest nesting of an expression.
const DEPTH_MAX: u16 = 32;
/// Largest compiled regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 256 << 10;
/// How errors of the parser begin, before line and column.
const PARSER_PREFIX: &str = "ERROR: <input>:";

/// A condition on a request and its source, in the Common Expression Language
/// (<https://github.com/google/cel-spec>). It is compiled once; a look at it takes a time that is
/// linear in its length: there is no recursion, at most one loop inside another is refused, and regular
/// expressions are compiled beforehand.
#[derive(Clone)]
pub struct Condition(Arc<Compiled>);

struct Compiled {
    text: String,
    expression: IdedExpr,
    context: Context<'static, 'static>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text.fmt(f)
    }
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Condition {
    /// Compiles an expression.
    ///
    /// # Errors
    /// What is wrong with it, and the mend.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            return Err(format!("an expression has at most {BYTES_MAX} bytes; make two rules of it"));
        }
        let parsed = Parser::new().max_recursion_depth(DEPTH_MAX).parse(text);
        let expression = parsed.map_err(|errors| syntax(&errors.to_string()))?;
        let Inspected { patterns, headers: _ } = inspect::inspect(&expression)?;
        let context = context(patterns.iter().map(String::as_str))?;
        let condition = Self(Arc::new(Compiled { text: text.to_owned(), expression, context }));
        condition.try_out()?;
        Ok(condition)
    }

    /// Returns the names of headers that it looks at.
    #[must_use]
    pub fn headers(&self) -> Vec<String> {
        inspect::inspect(&self.0.expression).map(|inspected| inspected.headers).unwrap_or_default()
    }

    /// Returns true if it holds.
    ///
    /// # Errors
    /// If it cannot be said: a text that is no number is used as one, for example.
    pub(super) fn holds(&self, facts: &Facts<'_>) -> Result<bool, ExecutionError> {
        let mut context = self.0.context.new_inner_scope();
        context.set_variable_resolver(facts);
        let value = Value::resolve_val(&self.0.expression, &context)?;
        match value.downcast_ref::<CelBool>() {
            Some(holds) => Ok(bool::from(*holds)),
            None => Err(ExecutionError::UnexpectedType {
                got: value.get_type().name().to_owned(),
                want: "bool".to_owned(),
            }),
        }
    }

    /// Evaluates it once, so that what can never be evaluated is told at once. What depends on values
    /// is not held against it.
    fn try_out(&self) -> Result<(), String> {
        let request = Request::of(Client { address: IpAddr::from([192, 0, 2, 1]), direct: true });
        match self.holds(&Facts { request: &request, source: &Source::default() }) {
            Err(ExecutionError::UnexpectedType { got, want }) if want == "bool" => {
                Err(format!("is no condition but a {got}; compare it with something"))
            }
            Err(
                error @ (ExecutionError::NoSuchOverload(_)
                | ExecutionError::UnexpectedType { .. }
                | ExecutionError::UndeclaredReference(_)
                | ExecutionError::NoSuchKey(_)
                | ExecutionError::InvalidArgumentCount { .. }
                | ExecutionError::UnsupportedBinaryOperator(..)
                | ExecutionError::ValuesNotComparable(..)),
            ) => Err(format!("{error}; compare text with text and numbers with numbers")),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

fn syntax(errors: &str) -> String {
    let first = errors.lines().next().unwrap_or_default();
    match first.strip_prefix(PARSER_PREFIX) {
        Some(rest) => format!("at {rest}"),
        None => first.to_owned(),
    }
}

type Function = Box<
    dyn for<'c, 'v> Fn(&mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> + Send + Sync,
>;

/// The standard functions, and two of our own: `matches`, since that of the crate compiles its pattern
/// at every call, and `inNetwork`.
fn context<'p>(patterns: impl Iterator<Item = &'p str>) -> Result<Context<'static, 'static>, String> {
    let mut regexes = HashMap::new();
    for pattern in patterns {
        let regex = RegexBuilder::new(pattern).size_limit(REGEX_BYTES_MAX).build();
        let regex = regex.map_err(|error| format!("`{pattern}` is no regular expression: {error}"))?;
        regexes.insert(pattern.to_owned(), regex);
    }
    let mut context = Context::default();
    let added = context
        .add_function("matches", matches(regexes))
        .and_then(|()| context.add_function("inNetwork", Box::new(in_network) as Function));
    added.map_err(|error| error.to_string())?;
    Ok(context)
}

fn matches(regexes: HashMap<String, Regex>) -> Function {
    Box::new(move |call| {
        let [text, pattern] = texts(call)?;
        let regex = regexes.get(pattern.inner());
        let regex = regex.ok_or_else(|| call.error("the pattern is not written out"))?;
        Ok(CowVal::owned(CelBool::from(regex.is_match(text.inner()))))
    })
}

/// `inNetwork(address, "10.0.0.0/8")`. What is no address is in no network.
fn in_network<'c, 'v>(call: &mut FunctionContext<'c, 'v>) -> Result<CowVal<'c, 'v>, ExecutionError> {
    let [address, network] = texts(call)?;
    let network: IpNet = network.inner().parse().map_err(|error| call.error(error))?;
    let within = address.inner().parse().is_ok_and(|address: IpAddr| network.contains(&address));
    Ok(CowVal::owned(CelBool::from(within)))
}

/// Returns the two texts that a function is called with, the first of them before or behind its name.
fn texts<'a, 'v>(call: &'a FunctionContext<'_, 'v>) -> Result<[&'a CelString<'v>; 2], ExecutionError> {
    let values: Vec<_> = call.this.iter().chain(&call.args).collect();
    let [first, second] = values[..] else {
        return Err(ExecutionError::invalid_argument_count(2, values.len()));
    };
    if let (Some(first), Some(second)) = (first.downcast_ref(), second.downcast_ref()) {
        return Ok([first, second]);
    }
    let types = values.iter().map(|value| value.get_type().name().to_owned()).collect();
    Err(ExecutionError::no_such_overload(call.name, types))
}
