//! Conditions, and the rules that parameters must keep together.

use super::{
    Result, TemplateError,
    intrinsics::{Resolver, arguments},
    yaml::{Content, Entry, Node},
};

/// Conditions inside one `And` or `Or`.
const OPERANDS: std::ops::RangeInclusive<usize> = 2..=10;

impl Resolver<'_> {
    /// Whether a condition holds, by name.
    pub(super) fn condition(&mut self, name: &str, line: usize) -> Result<bool> {
        if let Some(known) = self.conditions.get(name) {
            return Ok(*known);
        }
        let Some((declared, node)) = self.document.conditions.get(name) else {
            return Err(TemplateError::at(line, format!("there is no condition {name}")));
        };
        let holds = self
            .once(&format!("the condition {name}"), *declared, |resolver| resolver.parameters_only(node))
            .map_err(|error| error.within(name))?;
        self.conditions.insert(name.to_owned(), holds);
        Ok(holds)
    }

    /// Works out every condition, those that nothing uses included.
    pub(super) fn check_conditions(&mut self) -> Result<()> {
        let document = self.document;
        for (name, (line, _)) in &document.conditions {
            self.condition(name, *line)?;
        }
        Ok(())
    }

    /// Checks that every assertion of every rule holds.
    pub(super) fn check_rules(&mut self) -> Result<()> {
        let document = self.document;
        for rule in &document.rules {
            self.rule(rule).map_err(|error| error.within(&rule.key))?;
        }
        Ok(())
    }

    fn rule(&mut self, rule: &Entry) -> Result<()> {
        let mut assertions = None;
        let mut applies = true;
        for part in rule.value.map("a rule")? {
            match part.key.as_str() {
                "RuleCondition" => applies = self.parameters_only(&part.value)?,
                "Assertions" => assertions = Some(part.value.list("Assertions")?),
                other => return Err(TemplateError::at(part.line, format!("{other} is no property of a rule"))),
            }
        }
        let assertions = assertions.ok_or_else(|| TemplateError::at(rule.line, "Assertions is missing"))?;
        for assertion in assertions {
            let mut assert = None;
            let mut description = "an assertion does not hold";
            for part in assertion.map("an assertion")? {
                match part.key.as_str() {
                    "Assert" => assert = Some(&part.value),
                    "AssertDescription" => description = part.value.required_text("AssertDescription")?,
                    other => {
                        return Err(TemplateError::at(part.line, format!("{other} is no property of an assertion")));
                    }
                }
            }
            let assert = assert.ok_or_else(|| TemplateError::at(assertion.line, "Assert is missing"))?;
            // What does not apply is worked out all the same, so that a wrong name in it is found.
            if !self.parameters_only(assert)? && applies {
                return Err(TemplateError::at(assertion.line, description));
            }
        }
        Ok(())
    }

    fn parameters_only(&mut self, node: &Node) -> Result<bool> {
        let outside = std::mem::replace(&mut self.in_condition, true);
        let holds = self.holds(node);
        self.in_condition = outside;
        holds
    }

    fn holds(&mut self, node: &Node) -> Result<bool> {
        self.deeper(node.line, |resolver| resolver.holds_here(node))
    }

    fn holds_here(&mut self, node: &Node) -> Result<bool> {
        let line = node.line;
        let (function, argument) = match &node.content {
            Content::Call { function, argument } => (function.as_str(), &**argument),
            Content::Map(entries) => match entries.as_slice() {
                [Entry { key, value, .. }] if key == "Condition" => ("Condition", value),
                _ => return Err(not_a_condition(line)),
            },
            _ => return Err(not_a_condition(line)),
        };
        match function {
            "Condition" => self.condition(argument.required_text("Condition")?, line),
            "Not" => {
                let [operand] = arguments("Fn::Not", argument)?;
                Ok(!self.holds(operand)?)
            }
            "And" => Ok(self.operands("Fn::And", argument)?.into_iter().all(|holds| holds)),
            "Or" => Ok(self.operands("Fn::Or", argument)?.into_iter().any(|holds| holds)),
            "Equals" => {
                let [left, right] = arguments("Fn::Equals", argument)?;
                let (left, right) = (self.value(left)?, self.value(right)?);
                Ok(left.text("an operand of Fn::Equals")? == right.text("an operand of Fn::Equals")?)
            }
            "Contains" => {
                let [list, item] = arguments("Fn::Contains", argument)?;
                let item = self.text(item, "the second argument of Fn::Contains")?;
                let list = self.value(list)?;
                let texts = list.list("the first argument of Fn::Contains")?.iter();
                Ok(texts
                    .map(|text| text.text("an item of Fn::Contains"))
                    .collect::<Result<Vec<_>>>()?
                    .contains(&&*item))
            }
            _ => Err(not_a_condition(line)),
        }
    }

    fn operands(&mut self, function: &str, argument: &Node) -> Result<Vec<bool>> {
        let list = argument.list(&format!("the argument of {function}"))?;
        if !OPERANDS.contains(&list.len()) {
            let message =
                format!("{function} takes {} to {} conditions, not {}", OPERANDS.start(), OPERANDS.end(), list.len());
            return Err(TemplateError::at(argument.line, message));
        }
        list.iter().map(|operand| self.holds(operand)).collect()
    }
}

fn not_a_condition(line: usize) -> TemplateError {
    TemplateError::at(line, "a condition must stand here: And, Or, Not, Equals or the name of one")
}
