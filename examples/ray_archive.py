"""Find the faces in an archive of pictures, by all machines of a Ray cluster: docs/scaling.md.

    python ray_archive.py PICTURES RESULTS

Both are folders that every machine sees at the same place, or of an object store: s3://bucket/pictures.
RESULTS becomes Parquet files with a row for each picture, what was wrong with it included. Whatever ends
this, it goes on when it is started again: what RESULTS has is not searched again. RESULTS-done is for
that.

It takes a CPU for each picture that is searched at the same time, and at least 6 in all, which Ray has if it
is told so: `ray start --num-cpus=6`. With fewer, what reads, filters and writes may wait for good.
"""

import argparse

import ray
from ray.data.checkpoint import CheckpointConfig

from facet_serving.ray import FaceFinder


def main() -> None:
    """Search the pictures."""
    parser = argparse.ArgumentParser(description="Find the faces in an archive of pictures.")
    parser.add_argument("pictures")
    parser.add_argument("results")
    parser.add_argument("--at-once", type=int, default=2, help="pictures that are searched at the same time")
    arguments = parser.parse_args()
    ray.init()
    context = ray.data.DataContext.get_current()
    context.checkpoint_config = CheckpointConfig(
        id_column="path",
        checkpoint_path=f"{arguments.results}-done",
        delete_checkpoint_on_success=False,
    )
    pictures = ray.data.read_binary_files(arguments.pictures, include_paths=True)
    searched = pictures.map(FaceFinder, concurrency=arguments.at_once, num_cpus=1)
    searched.write_parquet(arguments.results)


if __name__ == "__main__":
    main()
