//! What a run found: named numbers, each knowing which way is better.

/// Which of two values of a figure is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// A cost: processor time, memory, latency.
    Lower,
    /// A yield: messages per second.
    Higher,
    /// Says something about the run, not about the server.
    Neither,
}

/// One number a run found about a server.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What was measured, with its unit last.
    pub name: &'static str,
    /// In the unit that `name` ends with.
    pub value: f64,
    /// Decides which way round a ratio is printed.
    pub better: Better,
}

impl Figure {
    /// A cost, of which less is better.
    pub fn cost(name: &'static str, value: f64) -> Self {
        Self { name, value, better: Better::Lower }
    }

    /// A yield, of which more is better.
    pub fn gain(name: &'static str, value: f64) -> Self {
        Self { name, value, better: Better::Higher }
    }

    /// A remark about the run itself.
    pub fn remark(name: &'static str, value: f64) -> Self {
        Self { name, value, better: Better::Neither }
    }

    /// How many times better this value is than that of `baseline`; over 1 is better.
    /// `None` if the figure is only a remark, if either is below 0, or the ratio is not a number.
    pub fn ratio_to(&self, baseline: &Figure) -> Option<f64> {
        if self.value < 0.0 || baseline.value < 0.0 {
            return None;
        }
        let ratio = match self.better {
            Better::Lower => baseline.value / self.value,
            Better::Higher => self.value / baseline.value,
            Better::Neither => return None,
        };
        ratio.is_finite().then_some(ratio)
    }
}

/// Middle, least and greatest of the values of one figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Half of the rounds are below; the mean of the middle two if their number is even.
    pub median: f64,
    /// The least value of any round.
    pub min: f64,
    /// The greatest value of any round.
    pub max: f64,
}

impl Spread {
    /// Over values in any order; `None` if there are none.
    pub fn over(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&min, &max) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => (values[middle - 1] + values[middle]) / 2.0,
        };
        Some(Self { median, min, max })
    }
}

/// The value that the part `share` of all values does not exceed; `None` if there are none.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * share).ceil() as usize;
    values.get(place.saturating_sub(1)).copied()
}

/// How much the second of two values grows with the first: the slope of the line with the least
/// squares of distances. Not a number if all first values are the same.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let mean =
        |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / points.len() as f64;
    let (x_mean, y_mean) = (mean(|point| point.0), mean(|point| point.1));
    let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
        points.iter().map(|&(x, y)| term(x - x_mean, y - y_mean)).sum()
    };
    sum(&|x, y| x * y) / sum(&|x, _| x * x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(quantile(&mut values, 0.99), Some(198.0));
        assert_eq!(quantile(&mut values, 0.5), Some(100.0));
        assert_eq!(quantile(&mut [7.0], 0.99), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_teeth_of_a_saw_have_the_slope_of_its_blade() {
        let teeth = |up: f64| -> Vec<(f64, f64)> {
            (0..400).map(|x| (f64::from(x), up * f64::from(x) + f64::from(x % 20))).collect()
        };
        assert!(slope(&teeth(0.0)).abs() < 0.01, "{}", slope(&teeth(0.0)));
        assert!((slope(&teeth(3.0)) - 3.0).abs() < 0.01, "{}", slope(&teeth(3.0)));
        assert!(slope(&[(1.0, 2.0)]).is_nan());
    }

    #[test]
    fn median_of_an_even_number_is_the_mean_of_the_middle_two() {
        let spread = Spread::over(vec![4.0, 1.0, 2.0, 3.0]);
        assert_eq!(spread, Some(Spread { median: 2.5, min: 1.0, max: 4.0 }));
        assert_eq!(Spread::over(Vec::new()), None);
    }

    #[test]
    fn ratio_above_one_is_better_for_costs_and_gains() {
        let half = Figure::cost("ns", 50.0).ratio_to(&Figure::cost("ns", 100.0));
        let twice = Figure::gain("rate", 200.0).ratio_to(&Figure::gain("rate", 100.0));
        assert_eq!((half, twice), (Some(2.0), Some(2.0)));
        assert_eq!(Figure::remark("busy", 1.0).ratio_to(&Figure::remark("busy", 1.0)), None);
        assert_eq!(Figure::cost("ns", 0.0).ratio_to(&Figure::cost("ns", 1.0)), None);
        assert_eq!(Figure::cost("ns", -2.0).ratio_to(&Figure::cost("ns", -1.0)), None);
    }
}
