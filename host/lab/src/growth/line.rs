//! A straight line through points, by ordinary least squares.

/// A significant rise is at least this many residual standard deviations.
pub(super) const NOISE_DEVIATIONS: f64 = 3.0;

/// Slopes that differ by less than this share are the same.
const SAME_SLOPE: f64 = 0.1;

/// A least-squares line.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) slope: f64,
    pub(super) r_squared: f64,
    pub(super) residual_deviation: f64,
    /// Distance of x between the first and the last point.
    pub(super) span: f64,
    /// The sum Sxx.
    pub(super) x_variation: f64,
}

impl Line {
    /// `None` when x does not vary, because then there is no slope.
    pub(super) fn through(
        points: impl ExactSizeIterator<Item = (f64, f64)> + Clone,
    ) -> Option<Self> {
        let count = points.len() as f64;
        let (mut min_x, mut max_x) = (f64::INFINITY, f64::NEG_INFINITY);
        let (sum_x, sum_y) = points.clone().fold((0.0, 0.0), |(x, y), point| {
            min_x = point.0.min(min_x);
            max_x = point.0.max(max_x);
            (x + point.0, y + point.1)
        });
        let (mean_x, mean_y) = (sum_x / count, sum_y / count);
        // Centred before squaring, because byte counts are large and nearly equal.
        let (sxx, sxy, syy) = points.fold((0.0, 0.0, 0.0), |(sxx, sxy, syy), (x, y)| {
            let (dx, dy) = (x - mean_x, y - mean_y);
            (sxx + dx * dx, sxy + dx * dy, syy + dy * dy)
        });
        if sxx <= 0.0 {
            return None;
        }
        let r_squared = if syy > 0.0 {
            (sxy * sxy / (sxx * syy)).clamp(0.0, 1.0)
        } else {
            1.0
        };
        let freedom = (count - 2.0).max(1.0);
        Some(Self {
            slope: sxy / sxx,
            r_squared,
            residual_deviation: ((1.0 - r_squared) * syy / freedom).sqrt(),
            span: max_x - min_x,
            x_variation: sxx,
        })
    }

    /// Whether the line rises by more than the noise between its first and its last point.
    pub(super) fn is_significant(&self) -> bool {
        self.slope * self.span > NOISE_DEVIATIONS * self.residual_deviation
    }

    /// The standard error of the slope.
    pub(super) fn slope_error(&self) -> f64 {
        self.residual_deviation / self.x_variation.sqrt()
    }

    /// Whether the line of a part of the points has another slope, beyond the noise of that part.
    pub(super) fn differs_from(&self, part: &Line) -> bool {
        let noise = NOISE_DEVIATIONS * part.slope_error();
        let same = SAME_SLOPE * self.slope.abs().max(part.slope.abs());
        (self.slope - part.slope).abs() > noise.max(same)
    }
}
