//! What do policies decide on each of many requests?
//!
//! Reads a request a line: `{"session": [POLICY…], "ceiling": [POLICY…], "action", "resource", "context": {KEY: VALUE}}`,
//! where a value is a string, a list of strings, or `null` for a key that is absent. Writes a line for each:
//! `{"session", "ceiling", "result"}`. `tests/e2e/test_evaluator.py` compares these with another evaluator.

use std::error::Error;
use std::io::{BufRead, Write};

use hallpass::grants::{Asked, Context, Document, Policies, evaluate};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut answers = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        writeln!(answers, "{}", answer(&request)?)?;
    }
    Ok(answers.flush()?)
}

fn answer(request: &Value) -> Result<Value, Box<dyn Error>> {
    let text =
        |name: &str| request.get(name).and_then(Value::as_str).ok_or_else(|| format!("`{name}` is not a string"));
    let asked = Asked::new(text("action")?, text("resource")?)?;
    let mut context = Context::default();
    for (key, value) in request.get("context").and_then(Value::as_object).into_iter().flatten() {
        let one = std::slice::from_ref(value);
        let values = value.as_array().map_or(if value.is_null() { &[] } else { one }, Vec::as_slice);
        let values: Option<Vec<&str>> = values.iter().map(Value::as_str).collect();
        context.set(key, values.ok_or_else(|| format!("`{key}` is neither a string nor a list of strings"))?);
    }
    let (session, ceiling) = (policies(request, "session")?, policies(request, "ceiling")?);
    let decided = evaluate(&session, Some(&ceiling), &asked, &context);
    let ceiling = decided.ceiling.map(|verdict| verdict.decision().as_str());
    Ok(json!({
        "session": decided.session.decision().as_str(),
        "ceiling": ceiling,
        "result": decided.result.decision().as_str(),
    }))
}

fn policies(request: &Value, name: &str) -> Result<Policies, Box<dyn Error>> {
    let documents = request.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let parse = |(index, document)| Document::parse(format!("{name} {index}"), document);
    Ok(Policies::new(documents.iter().enumerate().map(parse).collect::<Result<_, _>>()?))
}
