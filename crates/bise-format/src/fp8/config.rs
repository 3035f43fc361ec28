//! What a configuration says of quantized weights: that they are FP8, and how large blocks are; or
//! why they are not read.

use serde_json::{Value, json};

/// Rows and columns that share a scale; `None` where a scale is that of a row or of a whole matrix.
pub(crate) type Blocks = Option<[u64; 2]>;

/// The blocks of Hugging Face's FP8 when a configuration does not mention them; null means none.
const TRANSFORMERS_BLOCKS: [u64; 2] = [128, 128];

/// Checks that the weights that a `quantization_config` describes are FP8 as it is read here.
///
/// # Errors
/// Says how they are quantized instead, and what to get.
pub(crate) fn check(config: &Value) -> Result<(), String> {
    blocks(config).map(|_| ())
}

/// The blocks that a `quantization_config` describes.
///
/// # Errors
/// As [`check`].
pub(crate) fn blocks(config: &Value) -> Result<Blocks, String> {
    match config["quant_method"].as_str().unwrap_or_default() {
        "fp8" => of_hugging_face(config),
        "compressed-tensors" => of_compressed_tensors(config),
        "fbgemm_fp8" | "modelopt" => Err(refusal("FP8 of another form", BF16)),
        "gptq" => Err(refusal("GPTQ", ORIGINAL)),
        "awq" => Err(refusal("AWQ", ORIGINAL)),
        "bitsandbytes" => Err(refusal(
            "bitsandbytes",
            "get the model that it was made from, or save it after dequantize()",
        )),
        "" => Err(refusal("a way without a name", ORIGINAL)),
        other => Err(refusal(other, ORIGINAL)),
    }
}

/// What Mistral's own `params.json` says by `quantization`, or by a whole `quantization_config`, as
/// the latter; null when weights are not quantized.
///
/// # Errors
/// When `quantization` is of another kind.
pub(crate) fn native(quantization: &Value, config: &Value) -> Result<Value, String> {
    let format = &quantization["qformat_weight"];
    match (quantization, config) {
        (_, Value::Object(_)) => Ok(config.clone()),
        (Value::Null, _) => Ok(Value::Null),
        _ if format == "fp8_e4m3" => Ok(json!({"quant_method": "fp8", "weight_block_size": null})),
        _ => Err(format!(
            "quantization.qformat_weight is {format}, expected \"fp8_e4m3\"\n{ORIGINAL}"
        )),
    }
}

const BF16: &str = "get the BF16 version of the model";
const ORIGINAL: &str = "get the model that it was made from, in BF16 or F16";

fn refusal(method: &str, cure: &str) -> String {
    format!(
        "weights are quantized already, as {method} (quantization_config), \
         which bise does not read\n{cure}"
    )
}

fn of_hugging_face(config: &Value) -> Result<Blocks, String> {
    match config["fmt"].as_str() {
        None | Some("e4m3") => {}
        Some(other) => return Err(refusal(&format!("FP8 {other}"), BF16)),
    }
    match config.get("weight_block_size") {
        None => Ok(Some(TRANSFORMERS_BLOCKS)),
        Some(Value::Null) => Ok(None),
        Some(size) => extents(size)
            .map(Some)
            .ok_or_else(|| format!("weight_block_size is {size}, expected two numbers or null")),
    }
}

/// compressed-tensors describes groups of modules, all of which must be FP8; those of blocks must
/// agree.
fn of_compressed_tensors(config: &Value) -> Result<Blocks, String> {
    let other = |what: &str| Err(refusal(&format!("compressed-tensors' {what}"), ORIGINAL));
    let is_none = |value: &Value| match value {
        Value::Object(fields) => fields.values().all(|v| v.is_null() || *v == json!({})),
        other => other.is_null(),
    };
    let is_dense = |config: &Value| is_none(config) || config["format"] == "dense";
    if !is_dense(&config["sparsity_config"]) {
        return other("sparse weights");
    }
    if !is_none(&config["transform_config"]) {
        return other("transformed weights");
    }
    let groups = config["config_groups"].as_object();
    let mut found = None;
    for group in groups.iter().flat_map(|groups| groups.values()) {
        let format = [&group["format"], &config["format"]];
        let format = format.into_iter().find_map(|format| format.as_str());
        match format {
            Some("float-quantized") => {}
            _ => return other(format.unwrap_or("format without a name")),
        }
        let weights = &group["weights"];
        if weights["type"] != "float" || weights["num_bits"] != 8 || weights["symmetric"] == false {
            return other(&format!("weights {weights}"));
        }
        match weights["strategy"].as_str() {
            Some("tensor" | "channel") => {}
            Some("block") => {
                let size = &weights["block_structure"];
                let Some(block) = extents(size) else {
                    return Err(format!("block_structure is {size}, expected two numbers"));
                };
                if *found.get_or_insert(block) != block {
                    return other("blocks of several sizes");
                }
            }
            strategy => {
                return other(&format!("strategy {}", strategy.unwrap_or("without a name")));
            }
        }
    }
    match groups.is_some_and(|groups| !groups.is_empty()) {
        true => Ok(found),
        false => other("configuration without groups"),
    }
}

/// Two numbers above 0, as a list or as text like `128x128`.
fn extents(value: &Value) -> Option<[u64; 2]> {
    const MOST: u64 = 1 << 31;
    let extents = match value {
        Value::String(text) => {
            let (rows, columns) = text.split_once('x')?;
            [rows.parse().ok()?, columns.parse().ok()?]
        }
        _ => <[u64; 2]>::try_from(
            value
                .as_array()?
                .iter()
                .map(Value::as_u64)
                .collect::<Option<Vec<_>>>()?,
        )
        .ok()?,
    };
    extents
        .iter()
        .all(|extent| (1..=MOST).contains(extent))
        .then_some(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(weights: Value) -> Value {
        json!({
            "quant_method": "compressed-tensors", "format": "float-quantized",
            "config_groups": {"group_0": {"weights": weights, "targets": ["Linear"]}},
        })
    }

    #[test]
    fn forms_of_fp8() {
        let weights =
            |strategy: &str| json!({"num_bits": 8, "type": "float", "strategy": strategy});
        let mut block = weights("block");
        block["block_structure"] = json!([64, 32]);
        let mut text = block.clone();
        text["block_structure"] = json!("64x32");
        let mut more = group(weights("tensor"));
        more["config_groups"]["group_1"] = json!({"weights": block, "format": "float-quantized"});
        more["transform_config"] = json!({});
        more["sparsity_config"] = json!({"format": "dense"});
        for (config, expected) in [
            (json!({"quant_method": "fp8"}), Some([128, 128])),
            (
                json!({"quant_method": "fp8", "weight_block_size": null, "fmt": "e4m3"}),
                None,
            ),
            (
                json!({"quant_method": "fp8", "weight_block_size": [64, 128]}),
                Some([64, 128]),
            ),
            (group(weights("tensor")), None),
            (group(weights("channel")), None),
            (group(block), Some([64, 32])),
            (group(text), Some([64, 32])),
            (more, Some([64, 32])),
        ] {
            assert_eq!(blocks(&config), Ok(expected), "{config}");
        }
    }

    #[test]
    fn what_is_not_read_is_named() {
        let weights = json!({"num_bits": 8, "type": "float", "strategy": "tensor"});
        let with = |key: &str, value: Value| {
            let mut weights = weights.clone();
            weights[key] = value;
            group(weights)
        };
        let mut sparse = group(weights.clone());
        sparse["sparsity_config"] = json!({"format": "sparse-24-bitmask"});
        let mut rotated = group(weights.clone());
        rotated["transform_config"] = json!({"config_groups": {"u": {"type": "hadamard"}}});
        let mut packed = group(weights.clone());
        packed["format"] = json!("nvfp4-pack-quantized");
        let hf = |key: &str, value: Value| {
            let mut config = json!({"quant_method": "fp8"});
            config[key] = value;
            config
        };
        for (config, words) in [
            (json!({"quant_method": "gptq"}), "GPTQ"),
            (json!({"quant_method": "awq"}), "AWQ"),
            (json!({"quant_method": "bitsandbytes"}), "dequantize()"),
            (json!({"quant_method": "modelopt"}), "FP8 of another form"),
            (json!({"quant_method": "mxfp4"}), "as mxfp4"),
            (json!({}), "without a name"),
            (hf("fmt", json!("e5m2")), "FP8 e5m2"),
            (
                hf("weight_block_size", json!([128])),
                "weight_block_size is [128]",
            ),
            (
                hf("weight_block_size", json!([0, 128])),
                "weight_block_size is [0,128]",
            ),
            (hf("weight_block_size", json!([-1, 128])), "weight_block_size"),
            (with("num_bits", json!(4)), "\"num_bits\":4"),
            (with("type", json!("int")), "\"type\":\"int\""),
            (with("symmetric", json!(false)), "\"symmetric\":false"),
            (with("strategy", json!("group")), "strategy group"),
            (with("strategy", json!("block")), "block_structure is null"),
            (sparse, "sparse weights"),
            (rotated, "transformed weights"),
            (packed, "nvfp4-pack-quantized"),
            (json!({"quant_method": "compressed-tensors"}), "without groups"),
        ] {
            let error = blocks(&config).unwrap_err();
            assert!(error.contains(words), "{config}: {error}");
        }
    }

    #[test]
    fn what_mistrals_own_files_say() {
        let own = |quantization: Value| native(&quantization, &Value::Null);
        assert_eq!(own(Value::Null), Ok(Value::Null));
        let fp8 = own(json!({"qformat_weight": "fp8_e4m3", "qscheme_act": "TENSOR"})).unwrap();
        assert_eq!(blocks(&fp8), Ok(None));
        for other in [json!({"qformat_weight": "int4"}), json!({}), json!("fp8")] {
            assert!(own(other).unwrap_err().contains("quantization.qformat_weight is"));
        }
        let whole = json!({"quant_method": "gptq"});
        assert_eq!(native(&Value::Null, &whole), Ok(whole));
    }
}
