//! Options by their names, with values of JSON.

use super::{Sampling, SamplingError};
use serde_json::Value;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// Another seed each time.
pub fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Sampling {
    /// Gives the option `name` a value. Names are those of the command line, with `_` or `-`, and
    /// those of llama.cpp's server; numbers may be written as texts.
    ///
    /// # Errors
    /// When there is no such option, or the value is none. Whether a number is in its range shows
    /// when the sampler is made.
    pub fn set(&mut self, name: &str, value: &Value) -> Result<(), SamplingError> {
        let given = Given { name, value };
        match name.replace('-', "_").as_str() {
            "samplers" => self.samplers = Some(given.texts()?.join(";")),
            "temp" | "temperature" => self.temp = Some(given.real()?),
            "top_k" => self.top_k = Some(given.count(0)?),
            "top_p" => self.top_p = Some(given.real()?),
            "min_p" => self.min_p = Some(given.real()?),
            "typical" | "typical_p" => self.typical = Some(given.real()?),
            "xtc_probability" => self.xtc_probability = Some(given.real()?),
            "xtc_threshold" => self.xtc_threshold = Some(given.real()?),
            "repeat_penalty" => self.repeat_penalty = Some(given.real()?),
            "frequency_penalty" => self.frequency_penalty = Some(given.real()?),
            "presence_penalty" => self.presence_penalty = Some(given.real()?),
            "repeat_last_n" => self.repeat_last_n = Some(given.count(usize::MAX)?),
            "dry_multiplier" => self.dry_multiplier = Some(given.real()?),
            "dry_base" => self.dry_base = Some(given.real()?),
            "dry_allowed_length" => {
                let length = given.whole().and_then(|n| u32::try_from(n).ok());
                self.dry_allowed_length =
                    Some(length.ok_or_else(|| given.wrong("a number of tokens"))?);
            }
            "dry_penalty_last_n" => self.dry_penalty_last_n = Some(given.count(usize::MAX)?),
            "dry_sequence_breaker" | "dry_sequence_breakers" => {
                self.dry_sequence_breaker = given.texts()?;
            }
            "mirostat" => {
                let is_two = given.whole() == Some(2);
                let kind = is_two.then(|| "2".to_owned());
                self.mirostat = Some(kind.ok_or_else(|| given.wrong("2, for Mirostat 2"))?);
            }
            "mirostat_ent" | "mirostat_tau" => self.mirostat_ent = Some(given.real()?),
            "mirostat_lr" | "mirostat_eta" => self.mirostat_lr = Some(given.real()?),
            "logit_bias" => self.logit_bias = given.biases()?,
            "seed" => self.seed = Some(given.seed()?),
            _ => {
                return Err(SamplingError::Unknown {
                    name: name.to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// What stands at a name.
struct Given<'v> {
    name: &'v str,
    value: &'v Value,
}

impl Given<'_> {
    fn wrong(&self, expected: &'static str) -> SamplingError {
        SamplingError::Value {
            name: self.name.to_owned(),
            found: self.value.to_string(),
            expected,
        }
    }

    /// A number as it is written: what is read from it is what the command line reads.
    fn written(&self) -> Option<String> {
        match self.value {
            Value::Number(number) => Some(number.to_string()),
            Value::String(text) => Some(text.trim().to_owned()),
            _ => None,
        }
    }

    fn real(&self) -> Result<f32, SamplingError> {
        let number = self.written().and_then(|text| text.parse::<f32>().ok());
        let number = number.filter(|number| number.is_finite());
        number.ok_or_else(|| self.wrong("a number"))
    }

    /// A whole number, also one written as `2.0`.
    fn whole(&self) -> Option<i128> {
        let text = self.written()?;
        let whole = text.strip_suffix(".0").unwrap_or(&text);
        whole.parse().ok()
    }

    /// A number of tokens, of which -1 stands for `all`.
    fn count(&self, all: usize) -> Result<usize, SamplingError> {
        match self.whole() {
            Some(-1) => Ok(all),
            Some(n) if n >= 0 => Ok(usize::try_from(n).unwrap_or(usize::MAX)),
            _ => Err(self.wrong("a number of tokens, or -1 for all")),
        }
    }

    /// A seed; a random one for -1.
    fn seed(&self) -> Result<u64, SamplingError> {
        let seed = match self.whole() {
            Some(-1) => Some(random_seed()),
            n => n.and_then(|n| u64::try_from(n).ok()),
        };
        seed.ok_or_else(|| {
            self.wrong("a whole number from 0 to 2^64 - 1, or -1 for another seed each time")
        })
    }

    /// A text, or a list of texts.
    fn texts(&self) -> Result<Vec<String>, SamplingError> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts = match self.value {
            Value::Array(list) => list.iter().map(text).collect(),
            one => text(one).map(|text| vec![text]),
        };
        texts.ok_or_else(|| self.wrong("a text, or a list of texts"))
    }

    /// `TOKEN=X` or a list of such; or an object of tokens and numbers, as OpenAI's clients have it.
    fn biases(&self) -> Result<Vec<String>, SamplingError> {
        let Value::Object(biases) = self.value else {
            return self.texts();
        };
        let bias = |(token, x): (&String, &Value)| match x {
            Value::Number(x) => Ok(format!("{token}={x}")),
            Value::String(x) => Ok(format!("{token}={x}")),
            _ => Err(self.wrong("TOKEN=X, a list of such, or an object of tokens and numbers")),
        };
        biases.iter().map(bias).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(name: &str, value: Value) -> Result<Sampling, SamplingError> {
        let mut sampling = Sampling::default();
        sampling.set(name, &value).map(|()| sampling)
    }

    #[test]
    fn options_have_the_names_of_the_command_line() {
        assert_eq!(set("temperature", json!(0.3)).unwrap().temp, Some(0.3));
        assert_eq!(set("temp", json!("0.3")).unwrap().temp, Some(0.3));
        assert_eq!(set("top-k", json!(-1)).unwrap().top_k, Some(0));
        assert_eq!(set("top_k", json!(7.0)).unwrap().top_k, Some(7));
        let all = set("repeat_last_n", json!(-1)).unwrap();
        assert_eq!(all.repeat_last_n, Some(usize::MAX));
        assert_eq!(set("seed", json!(u64::MAX)).unwrap().seed, Some(u64::MAX));
        assert_ne!(set("seed", json!(-1)), set("seed", json!(-1)));
        let kinds = set("samplers", json!(["top-k", "temperature"])).unwrap();
        assert_eq!(kinds.samplers.as_deref(), Some("top-k;temperature"));
        assert_eq!(set("mirostat", json!(2)).unwrap().mirostat.as_deref(), Some("2"));
        let bias = set("logit_bias", json!({"5": -1.5, "6": "-inf"})).unwrap();
        assert_eq!(bias.logit_bias, ["5=-1.5", "6=-inf"]);
        let texts = set("dry_sequence_breaker", json!("none")).unwrap();
        assert_eq!(texts.dry_sequence_breaker, ["none"]);
    }

    #[test]
    fn what_is_no_value_is_named() {
        for (name, value) in [
            ("temperature", json!("nan")),
            ("temp", json!(true)),
            ("top_k", json!(-2)),
            ("top_k", json!(1.5)),
            ("seed", json!("x")),
            ("seed", json!(-2)),
            ("mirostat", json!(1)),
            ("samplers", json!(1)),
            ("dry_allowed_length", json!(-1)),
            ("logit_bias", json!({"5": [1]})),
        ] {
            let problem = set(name, value.clone()).unwrap_err().to_string();
            let begins = format!("{name} is {value}, expected");
            assert!(problem.starts_with(&begins), "{problem}");
        }
        let problem = set("nonsense", json!(1)).unwrap_err().to_string();
        assert_eq!(problem, "there is no option nonsense");
    }

    #[test]
    fn options_of_samplers_that_are_not_at_work_are_refused() {
        let greedy = set("temp", json!(0)).unwrap();
        let mirostat = set("mirostat", json!(2)).unwrap();
        let top_k = set("top_k", json!(5)).unwrap();
        assert_eq!(
            top_k.over(&mirostat),
            Err(SamplingError::Unused { sampler: "top-k" })
        );
        let both = mirostat.over(&top_k).unwrap();
        assert_eq!((both.mirostat.as_deref(), both.top_k), (Some("2"), Some(5)));
        let both = greedy.over(&top_k).unwrap();
        assert_eq!((both.temp, both.top_k), (Some(0.0), Some(5)));
    }
}
