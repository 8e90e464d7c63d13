//! The loss: binary cross-entropy and soft Dice, by the plan's weights.

use modiolus_pipeline::plan;
use tch::{Kind, Reduction, Tensor};

use crate::Error;

/// Keeps Dice defined where neither mask nor prediction has a pixel.
const DICE_SMOOTH: f64 = 1.0;

/// The loss of logits against masks (0 or 1), both [N, 1, Rows, Columns]; a scalar.
///
/// `cross_entropy` is the mean over pixels. `dice` is 1 - (2 sum(pt) + 1) / (sum(p) + sum(t) + 1), sums over the whole batch
/// (Milletari et al. 2016, arXiv:1606.04797, without squares).
///
/// # Errors
/// Those of libtorch.
pub fn loss(logits: &Tensor, masks: &Tensor, weights: &plan::Loss) -> Result<Tensor, Error> {
    let entropy =
        |reduction| logits.f_binary_cross_entropy_with_logits::<Tensor>(masks, None, None, reduction);
    let mut sum = entropy(Reduction::Mean)?.f_mul_scalar(weights.cross_entropy)?;
    if weights.dice > 0.0 {
        let probabilities = logits.f_sigmoid()?;
        let total = |tensor: &Tensor| tensor.f_sum(Kind::Float);
        let both = total(&probabilities.f_mul(masks)?)?.f_mul_scalar(2.0)?.f_add_scalar(DICE_SMOOTH)?;
        let either = total(&probabilities)?.f_add(&total(masks)?)?.f_add_scalar(DICE_SMOOTH)?;
        let dice = both.f_div(&either)?.f_neg()?.f_add_scalar(1.0)?;
        sum = sum.f_add(&dice.f_mul_scalar(weights.dice)?)?;
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_terms_have_their_textbook_values() {
        let logits = Tensor::from_slice(&[0.0_f32, 0.0, 0.0, 0.0]);
        let masks = Tensor::from_slice(&[1.0_f32, 0.0, 0.0, 1.0]);
        let value = |cross_entropy, dice| {
            let weights = plan::Loss { cross_entropy, dice, deep: 0.0 };
            loss(&logits, &masks, &weights).unwrap().double_value(&[])
        };
        assert!((value(1.0, 0.0) - 2.0_f64.ln()).abs() < 1e-6);
        // p = 1/2: 1 - (2 * 1 + 1) / (2 + 2 + 1)
        assert!((value(0.0, 1.0) - 0.4).abs() < 1e-6);
        assert!((value(2.0, 3.0) - 2.0 * 2.0_f64.ln() - 1.2).abs() < 1e-6);
    }
}
