"""What callers may want beside the faces of a picture: pixels and faces in, pictures and numbers out.

computing   what is wanted of one picture, and what that costs
drawing     the picture with its faces drawn into it; digits, its font
quality     what the pixels of a face are like
files       pictures as JPEG
"""
