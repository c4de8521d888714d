"""bud: a Dockerfile front end that compiles into calls on the public ``buildlib`` API."""
