"""Moving over: manifests of Argo Rollouts and Flagger as a catalog, and what became of each field.

Here belongs what their fields mean and what stands for them in a catalog. What a catalog is does
not (`schemas.catalog`), nor how the command prints (`aviary.cli.moving`). Whatever is not
understood is refused in its own words: nothing is guessed, and no field is dropped in silence.
"""
