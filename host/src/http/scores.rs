//! What both inference protocols ask for: every class's score, of images or of tensors.

use super::access::Work;
use super::{App, batch};
use crate::error::Error;
use bytes::Bytes;
use std::time::Instant;

/// What is to be classified.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// Encoded images.
    Images(Vec<Bytes>),
    /// Tensors of the model's own shape, every element finite.
    Tensors(Vec<Vec<f32>>),
}

/// What the scores of one image or tensor are.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// Of images: they add up to 1.
    Probabilities,
    /// Of tensors: whatever the model gives.
    ModelOutput,
}

/// The answer.
pub struct Scores {
    /// What they are.
    pub content: Content,
    /// One of each image or tensor, in order of class.
    pub rows: Vec<Vec<f32>>,
    /// What they cost.
    pub work: Work,
}

/// Asks for each image or tensor; if one is refused, all are. Classes that an image is not among the best `top_k` of have 0.
pub async fn of(app: &App, input: Input, top_k: u32) -> Result<Scores, Error> {
    let workers = app.workers().admission().workers;
    let start = Instant::now();
    let turn = |rank| app.workers().turn(rank, start);
    let mut work = Work::default();
    let mut rows = Vec::new();
    let content = match input {
        Input::Images(images) => {
            let ask = |rank, image| app.classify(image, top_k, turn(rank));
            for one in batch::all(workers, images, ask).await? {
                work.add(
                    &one.answered.output.timings,
                    one.queue,
                    one.answered.instantiate,
                );
                let mut row = vec![0.0; app.workers().model().labels.len()];
                for prediction in one.answered.output.predictions {
                    if let Some(score) = row.get_mut(prediction.class_id as usize) {
                        *score = prediction.probability;
                    }
                }
                rows.push(row);
            }
            Content::Probabilities
        }
        Input::Tensors(tensors) => {
            let ask = |rank, tensor| async move {
                let served = app.infer(tensor, turn(rank)).await?;
                if served.answered.output.iter().all(|score| score.is_finite()) {
                    Ok(served)
                } else {
                    // JSON has no word for them, and they order no classes.
                    Err(Error::BadRequest(
                        "The tensor's elements are so large that the model's scores are no finite numbers.".into(),
                    ))
                }
            };
            for one in batch::all(workers, tensors, ask).await? {
                work.add_tensor(one.queue, one.answered.instantiate);
                rows.push(one.answered.output);
            }
            Content::ModelOutput
        }
    };
    Ok(Scores {
        content,
        rows,
        work,
    })
}

/// The classes by score. Best first, ties in order of class.
pub fn ranked(scores: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..scores.len()).collect();
    classes.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    classes
}
