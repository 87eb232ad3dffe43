use cel::{
    IdedExpr,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, LiteralValue, SelectExpr, operators,
    },
};
use ipnet::IpNet;

use super::facts::{REQUEST, SOURCE};

/// Functions that conditions may call, besides operators.
const FUNCTIONS: [&str; 12] = [
    "bool",
    "contains",
    "double",
    "endsWith",
    "inNetwork",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// What there is in an expression.
#[derive(Debug, Default)]
pub(super) struct Inspected {
    /// Regular expressions.
    pub(super) patterns: Vec<String>,
    /// Headers, in lower case.
    pub(super) headers: Vec<String>,
}

/// Looks through an expression for what can never be evaluated, or would take too long.
pub(super) fn inspect(expression: &IdedExpr) -> Result<Inspected, String> {
    let mut walk = Walk::default();
    walk.expression(expression)?;
    Ok(walk.inspected)
}

#[derive(Default)]
struct Walk {
    inspected: Inspected,
    /// Variables of loops.
    bound: Vec<String>,
    in_loop: bool,
}

impl Walk {
    fn expression(&mut self, expression: &IdedExpr) -> Result<(), String> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(name),
            Expr::Call(call) => self.call(call),
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
            Expr::List(list) => self.all(&list.elements),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(entry)),
            Expr::Select(select) => self.select(select),
            Expr::Struct(structure) => Err(format!("there is no type `{}`", structure.type_name)),
        }
    }

    fn all(&mut self, expressions: &[IdedExpr]) -> Result<(), String> {
        expressions.iter().try_for_each(|expression| self.expression(expression))
    }

    fn entry(&mut self, entry: &IdedEntryExpr) -> Result<(), String> {
        match &entry.expr {
            EntryExpr::MapEntry(entry) => {
                self.expression(&entry.key)?;
                self.expression(&entry.value)
            }
            EntryExpr::StructField(field) => Err(format!("there is no field `{}`", field.field)),
        }
    }

    fn variable(&self, name: &str) -> Result<(), String> {
        let known = name.starts_with('@') || self.bound.iter().any(|bound| bound == name);
        if known || matches!(name, "request" | "source") {
            return Ok(());
        }
        Err(format!("there is no `{name}`, only `request` and `source`; texts stand in quotes"))
    }

    fn select(&mut self, select: &SelectExpr) -> Result<(), String> {
        if select.test {
            return Err("`has` is not needed: what is missing is \"\"; write `\"name\" in request.headers` \
                        to ask for a header"
                .to_owned());
        }
        if let Expr::Ident(name) = &select.operand.expr {
            let fields: &[&str] = match name.as_str() {
                "request" => &REQUEST,
                "source" => &SOURCE,
                _ => return self.expression(&select.operand),
            };
            if !fields.contains(&select.field.as_str()) {
                return Err(format!("`{name}` has no `{}`, but {}", select.field, fields.join(", ")));
            }
            return Ok(());
        }
        if is_headers(&select.operand) {
            self.inspected.headers.push(select.field.to_ascii_lowercase());
        }
        self.expression(&select.operand)
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), String> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            return Err(format!("there is no function `{name}`, but {}", FUNCTIONS.join(", ")));
        }
        let last = call.args.last().and_then(literal);
        match (name, last) {
            ("matches", Some(pattern)) => self.inspected.patterns.push(pattern.to_owned()),
            ("matches", None) => return Err("the pattern of `matches` is to be written out".to_owned()),
            ("inNetwork", Some(network)) => network
                .parse::<IpNet>()
                .map(drop)
                .map_err(|_| format!("`{network}` is no network; write one like 192.0.2.0/24"))?,
            (operators::INDEX, Some(header)) if call.args.first().is_some_and(is_headers) => {
                self.inspected.headers.push(header.to_ascii_lowercase());
            }
            (operators::IN, _) if last.is_none() && call.args.last().is_some_and(is_headers) => {
                let header = call.args.first().and_then(literal);
                self.inspected.headers.extend(header.map(str::to_ascii_lowercase));
            }
            _ => {}
        }
        if let Some(target) = &call.target {
            self.expression(target)?;
        }
        self.all(&call.args)
    }

    fn comprehension(&mut self, comprehension: &ComprehensionExpr) -> Result<(), String> {
        if self.in_loop {
            return Err("a loop inside a loop takes too long; make two rules of it".to_owned());
        }
        self.in_loop = true;
        let bound = self.bound.len();
        self.expression(&comprehension.iter_range)?;
        let variables =
            [Some(&comprehension.iter_var), comprehension.iter_var2.as_ref(), Some(&comprehension.accu_var)];
        self.bound.extend(variables.into_iter().flatten().cloned());
        for part in [
            &comprehension.accu_init,
            &comprehension.loop_cond,
            &comprehension.loop_step,
            &comprehension.result,
        ] {
            self.expression(part)?;
        }
        self.bound.truncate(bound);
        self.in_loop = false;
        Ok(())
    }
}

fn is_headers(expression: &IdedExpr) -> bool {
    matches!(&expression.expr, Expr::Select(select) if select.field == "headers"
        && matches!(&select.operand.expr, Expr::Ident(name) if name == "request"))
}

fn literal(expression: &IdedExpr) -> Option<&str> {
    if let Expr::Literal(LiteralValue::String(text)) = &expression.expr { Some(text.inner()) } else { None }
}
