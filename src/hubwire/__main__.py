"""`python -m hubwire`: the same commands as `hubwire`."""

from hubwire.cli.main import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
