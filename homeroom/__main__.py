"""`python -m homeroom`: the command line where its script is not on the PATH."""

from homeroom.cli import main

if __name__ == "__main__":
    main()
