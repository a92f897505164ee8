"""Detection in any number of files, of which nothing is lost.

The files are divided into shards, in their order. A shard's results are one Parquet file, written
at once, with a row for each image, those that could not be read among them. What is finished is not
done again. Modules: `inputs` (which files), `store` (the folder of results), `worker` (one shard),
`local` and `ray_engine` (who does them).
"""
