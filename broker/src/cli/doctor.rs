//! `agentcom doctor`: what is in the way of a broker, and what to do about it.

use agentcom_broker::config::{Config, ServeArgs, environment};
use agentcom_broker::doctor::{Finding, Verdict, examine};
use serde_json::json;

use super::output::Output;
use super::table::Table;
use super::{Outcome, time};

/// Run it. Whatever makes no broker possible is an error.
pub(crate) fn run(arguments: &ServeArgs, output: &Output) -> Outcome {
    let findings = match Config::load(arguments, environment()) {
        Ok(loaded) => examine(&loaded.config, time::now_ms()),
        Err(error) => vec![Finding {
            subject: "configuration",
            verdict: Verdict::Problem,
            found: error.to_string(),
            advice: Some("`agentcom serve --print-config` shows every setting".to_owned()),
        }],
    };
    show(&findings, output)?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Problem).count() {
        0 => Ok(()),
        1 => Err("there is a problem; see above".into()),
        problems => Err(format!("there are {problems} problems; see above").into()),
    }
}

fn show(findings: &[Finding], output: &Output) -> Outcome {
    if output.is_json() {
        for Finding { subject, verdict, found, advice } in findings {
            let finding = json!({"subject": subject, "verdict": verdict.as_str(),
                "found": found, "advice": advice});
            output.result("", &finding)?;
        }
        return Ok(());
    }
    let mut table = Table::new(&["", "WHAT", "FOUND"]);
    for Finding { subject, verdict, found, advice } in findings {
        let advice = advice.as_ref().map_or(String::new(), |advice| format!(". Do: {advice}"));
        table.row([verdict.as_str().to_owned(), (*subject).to_owned(), format!("{found}{advice}")]);
    }
    Ok(output.table(&table)?)
}
