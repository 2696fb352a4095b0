//! Several images in one request: each is admitted, classified and interrupted on its own, and all have the time of one.

use crate::error::Error;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use std::future::Future;

/// Asks for each, telling how many come before it, as many at a time as there are workers, so that one request cannot fill the queue. Answers in order,
/// refusals among them.
pub async fn each<T, R, F: Future<Output = R>>(
    workers: u32,
    items: Vec<T>,
    ask: impl Fn(usize, T) -> F,
) -> Vec<R> {
    stream::iter(items.into_iter().enumerate())
        .map(|(rank, item)| ask(rank, item))
        .buffered(workers as usize)
        .collect()
        .await
}

/// The same, up to the first refusal, which says which of them it is about.
pub async fn all<T, R, F: Future<Output = Result<R, Error>>>(
    workers: u32,
    items: Vec<T>,
    ask: impl Fn(usize, T) -> F,
) -> Result<Vec<R>, Error> {
    let count = items.len();
    let name = |(index, result): (usize, Result<R, Error>)| match result {
        Err(error) if count > 1 => Err(Error::OneOf {
            number: index + 1,
            count,
            error: Box::new(error),
        }),
        result => result,
    };
    stream::iter(items.into_iter().enumerate())
        .map(|(rank, item)| ask(rank, item))
        .buffered(workers as usize)
        .enumerate()
        .map(name)
        .try_collect()
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn even(_: usize, number: u32) -> Result<u32, Error> {
        // Later ones are faster.
        for _ in number..10 {
            tokio::task::yield_now().await;
        }
        if number.is_multiple_of(2) {
            Ok(number)
        } else {
            Err(Error::Busy)
        }
    }

    #[tokio::test]
    async fn answers_keep_their_order() {
        let answers = each(3, vec![0, 1, 2, 4], even).await;
        let numbers: Vec<_> = answers.into_iter().map(Result::ok).collect();
        assert_eq!(numbers, [Some(0), None, Some(2), Some(4)]);
    }

    #[tokio::test]
    async fn all_stops_at_the_first_refusal_and_names_it() {
        assert_eq!(all(2, vec![2, 0, 4], even).await.ok(), Some(vec![2, 0, 4]));
        let error = all(2, vec![2, 0, 3, 4], even).await.err();
        assert!(error.unwrap().to_string().starts_with("Image 3 of 4: "));
        let error = all(2, vec![3], even).await.err();
        assert!(matches!(error, Some(Error::Busy)));
    }
}
