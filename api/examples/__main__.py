"""Write the example files beside this one."""

from api.examples import FOLDER, write

write(FOLDER)
